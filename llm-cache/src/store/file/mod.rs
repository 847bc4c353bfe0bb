//! Entries in a file, by the embedded store `redb`.
//!
//! One thread writes, which opening a store starts. It writes all pending entries with one durable commit, so that a
//! commit holds more if there is more to write. Pending entries are read from memory. Reading a file takes microseconds
//! if the system holds its pages and milliseconds if not, so a bounded number of tokio's threads for blocking work do
//! it.

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
