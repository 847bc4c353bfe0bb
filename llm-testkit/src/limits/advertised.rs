//! Rate limits that the vendor advertises.

use std::time::Duration;

/// Rate limits that the headers of every response state, with the names and forms of the vendor's format.
///
/// They are not enforced. The values of an enforced [`Limit`](super::Limit) replace them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Limit on requests.
    pub requests: Window,
    /// Limit on tokens. If there are limits on several kinds of tokens, it is the tightest.
    pub tokens: Window,
    /// Limit on tokens of prompts, for vendors that count them separately (Anthropic).
    pub input_tokens: Window,
    /// Limit on tokens of responses, for vendors that count them separately (Anthropic).
    pub output_tokens: Window,
}

/// Values of one advertised limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Largest amount that one window admits.
    pub limit: u64,
    /// Amount that remains in the window.
    pub remaining: u64,
    /// Time until the whole limit is available again.
    pub reset: Duration,
}

impl RateLimits {
    /// Returns these limits for a refused call, with no request remaining until `retry_after` has passed.
    pub(crate) fn refused(&self, retry_after: Duration) -> Self {
        Self { requests: Window { remaining: 0, reset: retry_after, ..self.requests }, ..*self }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            requests: Window { limit: 10_000, remaining: 9_999, reset: Duration::from_millis(6) },
            tokens: Window { limit: 2_000_000, remaining: 1_999_000, reset: Duration::from_millis(30) },
            input_tokens: Window { limit: 2_000_000, remaining: 1_999_000, reset: Duration::from_millis(30) },
            output_tokens: Window { limit: 400_000, remaining: 400_000, reset: Duration::ZERO },
        }
    }
}
