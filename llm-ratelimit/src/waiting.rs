//! Bounds on waiting. The queues are in `queue.rs`, and the path of a waiting call is in `inner/wait.rs`.

use std::time::Duration;

/// Bounds within which calls may wait for room.
///
/// ```
/// use std::time::Duration;
///
/// use llm_ratelimit::{Limiter, Plans, Waiting};
///
/// let waiting = Waiting::at_most(Duration::from_secs(10)).max_tokens(200_000);
/// let limiter = Limiter::builder(Plans::uniform(["10/minute"])?).waiting(waiting).build()?;
/// # let _ = limiter;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub(crate) max_tokens: u64,
    pub(crate) max_calls: usize,
    pub(crate) longest: Duration,
}

impl Waiting {
    /// Creates bounds with this longest wait. A call with an earlier deadline waits only until the deadline.
    ///
    /// If the queue is full, the last calls of the tenant with the most waiting calls are refused
    /// ([`Reason::QueueFull`](crate::Reason::QueueFull)), to make room for a call of a tenant with fewer. If the new
    /// call is of that tenant, the new call is refused. A call is refused at once
    /// ([`Reason::TooLate`](crate::Reason::TooLate)) if it is known that there will be no room in time.
    pub fn at_most(longest: Duration) -> Self {
        Self { max_tokens: 1_000_000, max_calls: 10_000, longest }
    }

    /// Sets the largest number of tokens that all waiting calls together may demand: a million by default.
    pub fn max_tokens(mut self, tokens: u64) -> Self {
        self.max_tokens = tokens;
        self
    }

    /// Sets the largest number of calls that may wait at the same time: 10,000 by default.
    pub fn max_calls(mut self, calls: usize) -> Self {
        self.max_calls = calls;
        self
    }
}
