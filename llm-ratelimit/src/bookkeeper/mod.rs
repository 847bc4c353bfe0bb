//! Who writes a limiter's balances into a store.

mod handle;
mod rounds;
#[cfg(test)]
mod tests;
mod thread;

pub use self::handle::{Bookkeeper, BookkeeperBuilder};
