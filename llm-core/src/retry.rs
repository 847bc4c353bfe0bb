//! Parts of layers that retry: how often, and after what time.

mod backoff;
mod budget;

pub use self::backoff::Backoff;
pub use self::budget::{RetryBudget, RetryToken};
