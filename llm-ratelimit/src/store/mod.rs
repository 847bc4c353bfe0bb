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
#[cfg(feature = "redis")]
pub(crate) use self::url::RedisAddress;
pub(crate) use self::{backend::Changes, url::Address};
pub use self::{error::StoreError, handle::Store};
