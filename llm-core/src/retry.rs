//! Building blocks of layers that retry: the budget of retries, and the waiting time before each retry.

mod backoff;
mod budget;

pub use self::backoff::Backoff;
pub use self::budget::{RetryBudget, RetryToken};
