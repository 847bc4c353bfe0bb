//! Entries in a file, by the embedded store `redb`.
//!
//! Writing is one thread's, which opening a store starts: it writes all that is pending with one durable commit, so the
//! more there is to write, the more goes into one. What is pending is read from memory. Reading a file takes
//! microseconds if the system holds its pages and milliseconds if not, so it is done on tokio's threads for blocking work,
//! a bounded number of them.

mod disk;
mod foreign;
mod invalidations;
mod pending;
mod shared;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use self::store::{FileSettings, FileStore};
