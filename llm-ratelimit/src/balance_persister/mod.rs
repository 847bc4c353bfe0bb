//! Who writes a limiter's balances into a store.

mod handle;
mod rounds;
#[cfg(test)]
mod tests;
mod thread;

pub(crate) use self::handle::Recorder;
pub use self::handle::{BalancePersister, BalancePersisterBuilder};
