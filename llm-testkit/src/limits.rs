//! The rate limits that the vendor advertises.

use std::time::Duration;

/// What the `x-ratelimit-*` headers of every answer say. They are advertised, not enforced: refusals are scripted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests.
    pub requests: Window,
    /// Tokens.
    pub tokens: Window,
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

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            requests: Window { limit: 10_000, remaining: 9_999, reset: Duration::from_millis(6) },
            tokens: Window { limit: 2_000_000, remaining: 1_999_000, reset: Duration::from_millis(30) },
        }
    }
}
