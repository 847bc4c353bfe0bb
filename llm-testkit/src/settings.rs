//! Settings of a vendor.

use crate::billing::Prices;
use crate::flavor::Flavor;
use crate::latency::Latency;
use crate::limits::RateLimits;
use crate::prng::Prng;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::SystemTime;

/// Function from a chat request in OpenAI's format to the text of its response.
pub(crate) type Responder = Box<dyn Fn(&Value) -> Option<String> + Send + Sync>;

/// The settings of one vendor.
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) flavor: Flavor,
    /// Known keys; `None` for any key.
    pub(crate) keys: Option<BTreeSet<String>>,
    /// Served models; `None` for any model.
    pub(crate) models: Option<BTreeSet<String>>,
    pub(crate) prices: Prices,
    /// Function that writes texts of responses. Without a function, or if it returns `None`, the vendor generates the
    /// text.
    pub(crate) responder: Option<Responder>,
    pub(crate) response_tokens: RangeInclusive<u64>,
    pub(crate) reasoning_tokens: u64,
    pub(crate) cached_percent: u8,
    pub(crate) cache_write_percent: u8,
    pub(crate) dimensions: usize,
    pub(crate) tokens_per_delta: NonZeroUsize,
    pub(crate) latency: Latency,
    pub(crate) limits: Option<RateLimits>,
    pub(crate) states_organisation: bool,
    pub(crate) recorded_requests: usize,
    pub(crate) wall: Box<dyn Fn() -> SystemTime + Send + Sync>,
}

impl Settings {
    pub(crate) fn serves(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.contains(model))
    }

    /// Returns the number of `input` tokens that count as cached.
    pub(crate) fn cached(&self, input: u64) -> u64 {
        share(input, self.cached_percent)
    }

    /// Returns the numbers of `fresh` tokens that are written to a cache for five minutes and for an hour, in proportion to
    /// the breakpoints.
    pub(crate) fn written(&self, fresh: u64, breakpoints: [u64; 2]) -> [u64; 2] {
        let [short, long] = breakpoints;
        if short + long == 0 {
            return [0; 2];
        }
        let written = share(fresh, self.cache_write_percent);
        let hour = written * long / (short + long);
        [written - hour, hour]
    }

    /// Draws the number of tokens in a response from the range `response_tokens`.
    pub(crate) fn response_length(&self, prng: &mut Prng) -> u64 {
        let (low, high) = (*self.response_tokens.start(), *self.response_tokens.end());
        low + prng.below(high.saturating_sub(low).saturating_add(1))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            flavor: Flavor::default(),
            keys: None,
            models: None,
            prices: Prices::default(),
            responder: None,
            response_tokens: 8..=40,
            reasoning_tokens: 0,
            cached_percent: 0,
            cache_write_percent: 0,
            dimensions: 8,
            tokens_per_delta: NonZeroUsize::MIN,
            latency: Latency::zero(),
            limits: Some(RateLimits::default()),
            states_organisation: false,
            recorded_requests: 16,
            wall: Box::new(system_time),
        }
    }
}

/// Returns `percent` of `tokens`, rounded down.
fn share(tokens: u64, percent: u8) -> u64 {
    tokens / 100 * u64::from(percent) + tokens % 100 * u64::from(percent) / 100
}

#[expect(clippy::disallowed_methods, reason = "this is the vendor's own wall clock, and the builder replaces it")]
fn system_time() -> SystemTime {
    SystemTime::now()
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("seed", &self.seed).finish_non_exhaustive()
    }
}
