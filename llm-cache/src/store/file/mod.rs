//! Entries in a file, by the embedded store `redb`.
//!
//! Opening a store starts one thread, which writes all pending entries with one durable commit. The more entries are
//! pending, the more entries each commit contains. Pending entries are read from memory. A read of the file takes
//! microseconds if the system has cached its pages, and milliseconds otherwise. Therefore reads run on tokio's threads
//! for blocking work, a bounded number at a time.

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
