//! Totals of a ledger in a file, and the log of its requests.
//!
//! `builder.rs` opens the file and makes the ledger book into it; `files.rs` flushes what was booked, on request or by `thread.rs`;
//! `disk.rs` replaces the file, in the form of `contents.rs`.

mod builder;
mod contents;
mod disk;
mod error;
mod files;
mod ledger_file;
mod thread;

pub use self::builder::LedgerFileBuilder;
pub use self::error::LedgerFileError;
pub use self::ledger_file::LedgerFile;
