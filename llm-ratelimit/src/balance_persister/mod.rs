//! Thread that writes a limiter's balances to a store, and its handle.

mod flush_loop;
mod handle;
#[cfg(test)]
mod tests;
mod thread;

pub(crate) use self::handle::Recorder;
pub use self::handle::{BalancePersister, BalancePersisterBuilder};
