use std::{
    fs, io,
    path::{Path, PathBuf},
};

use llm_core::price::{PriceTable, PriceTableError};

/// Error of a price file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("the price file {path:?} cannot be read: {source}")]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Cause of the failure.
        source: io::Error,
    },
    /// The file is not a usable price table.
    #[error("in the price file {path:?}: {source}")]
    Table {
        /// Path of the file.
        path: PathBuf,
        /// Fault in the table.
        source: PriceTableError,
    },
}

/// Reads a price table from a file, in the form of [`PriceTable::from_json`].
///
/// It blocks while it reads; a table is a few dozen kilobytes. To use a changed file while calls run, load it and pass
/// the table to [`Ledger::replace_prices`](crate::Ledger::replace_prices). If loading fails, the old prices stay in
/// use.
///
/// # Errors
///
/// The file cannot be read, or is not a usable price table. The message names the model and the field.
pub fn load(path: impl AsRef<Path>) -> Result<PriceTable, LoadError> {
    let path = path.as_ref();
    let json = fs::read_to_string(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    PriceTable::from_json(&json).map_err(|source| LoadError::Table { path: path.to_owned(), source })
}
