//! The rate limits that the vendor advertises.

use std::time::Duration;

/// What the rate limit headers of every answer say, in the vendor's own names and forms, if it has any. They enforce
/// nothing; where a [`Limit`](super::Limit) is enforced, its figures stand in their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests.
    pub requests: Window,
    /// Tokens; where there are limits on several kinds of them, the tightest.
    pub tokens: Window,
    /// Tokens of prompts, for vendors that count them apart (Anthropic).
    pub input_tokens: Window,
    /// Tokens of answers, for vendors that count them apart (Anthropic).
    pub output_tokens: Window,
}

/// One limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The most that one window lets through.
    pub limit: u64,
    /// What is left.
    pub remaining: u64,
    /// How long until the whole limit is there again.
    pub reset: Duration,
}

impl RateLimits {
    /// What the limits look like to a call that was refused for them.
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
