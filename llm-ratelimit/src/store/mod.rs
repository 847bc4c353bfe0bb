//! Stores of balances, which outlive the process.

mod backend;
mod error;
#[cfg(feature = "file")]
mod file;
mod handle;
mod memory;
mod url;

#[cfg(test)]
pub(crate) use self::backend::Backend;
pub(crate) use self::backend::Changes;
pub use self::{error::StoreError, handle::Store};
