//! Building a vendor.

use crate::flavor::Flavor;
use crate::latency::Latency;
use crate::limits::{Gate, Limit, RateLimits};
use crate::settings::Settings;
use crate::vendor::Vendor;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::SystemTime;

/// Builds a [`Vendor`]. Everything has a default.
#[derive(Debug, Default)]
pub struct VendorBuilder {
    settings: Settings,
    gate: Gate,
}

impl VendorBuilder {
    /// What request ids and latencies follow from; 0 unless told. Two vendors whose request ids must not be the same
    /// need two seeds.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// The keys that are known; others get a 401. Unless told, any key is accepted.
    #[must_use]
    pub fn keys<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.settings.keys = Some(keys.into_iter().map(Into::into).collect());
        self
    }

    /// The models that are served; others get a 404. Unless told, any model is served.
    #[must_use]
    pub fn models<M: Into<String>>(mut self, models: impl IntoIterator<Item = M>) -> Self {
        self.settings.models = Some(models.into_iter().map(Into::into).collect());
        self
    }

    /// The prices of models whose names begin with `prefix` (the longest counts, `""` is any), in nano-dollars per
    /// million tokens of input, cached input and output. A model without a price costs nothing.
    #[must_use]
    pub fn price(mut self, prefix: impl Into<String>, input: u64, cached: u64, output: u64) -> Self {
        self.settings.prices.insert(prefix.into(), input, cached, output);
        self
    }

    /// What writes to a cache cost for models whose names begin with `prefix`, for five minutes and for an hour, in
    /// nano-dollars per million tokens; as much as input unless told.
    #[must_use]
    pub fn cache_write_price(mut self, prefix: impl Into<String>, five_minutes: u64, hour: u64) -> Self {
        self.settings.prices.insert_writes(prefix.into(), [five_minutes, hour]);
        self
    }

    /// Whose OpenAI-compatible ways the vendor has; OpenAI's unless told. Calls in Anthropic's and Gemini's formats are
    /// served all the same.
    #[must_use]
    pub fn flavor(mut self, flavor: Flavor) -> Self {
        self.settings.flavor = flavor;
        self
    }

    /// How many tokens an answer's text has, chosen by the request's hash; 8 to 40 unless told. A request's own maximum
    /// cuts it.
    #[must_use]
    pub fn response_tokens(mut self, tokens: RangeInclusive<u64>) -> Self {
        self.settings.response_tokens = tokens;
        self
    }

    /// Tokens that each choice thinks before it speaks; 0 unless told. They are output, and part of its maximum. In
    /// Anthropic's format only requests that enable thinking are thought about; a request that asks for thoughts gets
    /// 8 tokens of them where this is 0.
    #[must_use]
    pub fn reasoning_tokens(mut self, tokens: u64) -> Self {
        self.settings.reasoning_tokens = tokens;
        self
    }

    /// The share of every prompt that counts as cached, in per cent (at most 100, rounded down to tokens); 0 unless
    /// told.
    #[must_use]
    pub fn cached_percent(mut self, percent: u8) -> Self {
        self.settings.cached_percent = percent.min(100);
        self
    }

    /// The share of a prompt's tokens that are not cached which is written to a cache, in per cent (at most 100, rounded
    /// down to tokens), where a request has `cache_control` breakpoints; 0 unless told.
    #[must_use]
    pub fn cache_write_percent(mut self, percent: u8) -> Self {
        self.settings.cache_write_percent = percent.min(100);
        self
    }

    /// The length of embeddings whose request does not ask for one; 8 unless told.
    #[must_use]
    pub fn dimensions(mut self, dimensions: NonZeroUsize) -> Self {
        self.settings.dimensions = dimensions.get();
        self
    }

    /// How many tokens one event of a stream carries; 1 unless told.
    #[must_use]
    pub fn tokens_per_delta(mut self, tokens: NonZeroUsize) -> Self {
        self.settings.tokens_per_delta = tokens;
        self
    }

    /// How long answers take; no time unless told.
    #[must_use]
    pub fn latency(mut self, latency: Latency) -> Self {
        self.settings.latency = latency;
        self
    }

    /// What answers advertise, or nothing: then no header tells of limits, not even of those that are enforced.
    #[must_use]
    pub fn rate_limits(mut self, limits: Option<RateLimits>) -> Self {
        self.settings.limits = limits;
        self
    }

    /// The limits that are enforced for each key on its own; none unless told. All of a key's limits have to hold.
    #[must_use]
    pub fn limit_each_key(mut self, limits: impl IntoIterator<Item = Limit>) -> Self {
        self.gate.limit_each(limits.into_iter().collect());
        self
    }

    /// The limits that are enforced for this key, instead of those for each key.
    #[must_use]
    pub fn limit_key(mut self, key: impl Into<String>, limits: impl IntoIterator<Item = Limit>) -> Self {
        self.gate.limit_key(key.into(), limits.into_iter().collect());
        self
    }

    /// The limits that are enforced for these keys together, beside those of each key. A key may be in several
    /// organisations, such as a project and its owner.
    #[must_use]
    pub fn limit_organisation<K: Into<String>>(
        mut self,
        name: impl Into<String>,
        keys: impl IntoIterator<Item = K>,
        limits: impl IntoIterator<Item = Limit>,
    ) -> Self {
        let keys = keys.into_iter().map(Into::into).collect();
        self.gate.limit_organisation(name.into(), keys, limits.into_iter().collect());
        self
    }

    /// How many of the latest requests [`Vendor::requests`] keeps; 16 unless told.
    #[must_use]
    pub fn recorded_requests(mut self, requests: usize) -> Self {
        self.settings.recorded_requests = requests;
        self
    }

    /// The wall clock, for the `date` and `retry-after` headers; the system's unless told.
    #[must_use]
    pub fn wall_clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.settings.wall = Box::new(now);
        self
    }

    /// The vendor, open for business.
    pub fn build(self) -> Vendor {
        Vendor::open(self.settings, self.gate)
    }
}
