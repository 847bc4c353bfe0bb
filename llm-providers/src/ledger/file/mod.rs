//! Totals of a ledger in a file, and the log of its requests.
//!
//! `builder.rs` opens the file and connects the ledger to it. `files.rs` flushes booked calls, on request or when
//! `thread.rs` asks for it. `disk.rs` replaces the file, in the format that `contents.rs` defines.

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
