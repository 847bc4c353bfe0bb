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
    /// Calls wait for at most this long, or until their deadlines where those are sooner.
    ///
    /// At most a million tokens and 10,000 calls wait at once, unless set otherwise. Where no more may, the last calls of
    /// the tenant of whom most waits make room for one of whom less does, and are refused.
    pub fn at_most(longest: Duration) -> Self {
        Self { max_tokens: 1_000_000, max_calls: 10_000, longest }
    }

    /// At most so many tokens wait at once, as far as the calls say how many they may take.
    pub fn max_tokens(mut self, tokens: u64) -> Self {
        self.max_tokens = tokens;
        self
    }

    /// At most so many calls wait at once.
    pub fn max_calls(mut self, calls: usize) -> Self {
        self.max_calls = calls;
        self
    }
}
