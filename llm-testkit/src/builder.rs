//! Builder of a vendor.

use crate::flavor::Flavor;
use crate::latency::Latency;
use crate::limits::{Limit, Limiter, RateLimits};
use crate::prompt_cache::PromptCache;
use crate::settings::Settings;
use crate::vendor::Vendor;
use serde_json::Value;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

/// Builder of a [`Vendor`]. Every setting has a default.
///
/// # Example
///
/// ```
/// use llm_testkit::{Flavor, Vendor};
///
/// let builder = Vendor::builder().seed(7).flavor(Flavor::Mistral).keys(["sk-a", "sk-b"]).response_tokens(5..=20);
/// let vendor = builder.price("", 150_000_000, 75_000_000, 600_000_000).build();
/// assert_eq!(vendor.total_billed(), 0);
/// ```
#[derive(Debug, Default)]
pub struct VendorBuilder {
    settings: Settings,
    limiter: Limiter,
    prompt_cache: Option<PromptCache>,
}

impl VendorBuilder {
    /// Sets the seed of request ids and latencies; 0 by default.
    ///
    /// If the request ids of two vendors must differ, give them different seeds.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Sets the known keys; calls with another key receive a 401. Any key is accepted by default.
    #[must_use]
    pub fn keys<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.settings.keys = Some(keys.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the served models; calls for another model receive a 404. Any model is served by default.
    #[must_use]
    pub fn models<M: Into<String>>(mut self, models: impl IntoIterator<Item = M>) -> Self {
        self.settings.models = Some(models.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the prices of models whose names begin with `prefix`, in nano-dollars per million tokens of input, cached input
    /// and output.
    ///
    /// The longest matching prefix counts, and `""` matches any model. A model without a price is free.
    #[must_use]
    pub fn price(mut self, prefix: impl Into<String>, input: u64, cached: u64, output: u64) -> Self {
        self.settings.prices.insert(prefix.into(), input, cached, output);
        self
    }

    /// Sets the prices of writes to a cache for five minutes and for an hour, for models whose names begin with `prefix`, in
    /// nano-dollars per million tokens; the price of input by default.
    #[must_use]
    pub fn cache_write_price(mut self, prefix: impl Into<String>, five_minutes: u64, hour: u64) -> Self {
        self.settings.prices.insert_writes(prefix.into(), [five_minutes, hour]);
        self
    }

    /// Sets the dialect of OpenAI's format; OpenAI's own by default.
    ///
    /// The vendor also serves calls in Anthropic's and Gemini's formats.
    #[must_use]
    pub fn flavor(mut self, flavor: Flavor) -> Self {
        self.settings.flavor = flavor;
        self
    }

    /// Sets the number of tokens in a response's text, chosen by the request's hash; 8 to 40 by default.
    ///
    /// If the request states a maximum, the text is truncated to it.
    #[must_use]
    pub fn response_tokens(mut self, tokens: RangeInclusive<u64>) -> Self {
        self.settings.response_tokens = tokens;
        self
    }

    /// Sets a function that writes the texts of responses, from a chat request in OpenAI's format; none by default.
    ///
    /// Its texts are used for every format, streamed or not, and are counted, stopped and truncated as generated texts
    /// are. A request for which it returns `None` gets a generated text. The function must not use the vendor.
    ///
    /// ```
    /// use llm_testkit::Vendor;
    /// use serde_json::json;
    ///
    /// let shout = |body: &serde_json::Value| Some(body["messages"][0]["content"].as_str()?.to_uppercase());
    /// let vendor = Vendor::builder().respond_with(shout).build();
    /// let body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
    /// assert_eq!(vendor.response_text(&body).as_deref(), Some("HELLO"));
    /// ```
    #[must_use]
    pub fn respond_with(mut self, text: impl Fn(&Value) -> Option<String> + Send + Sync + 'static) -> Self {
        self.settings.responder = Some(Box::new(text));
        self
    }

    /// Sets the number of reasoning tokens of each choice; 0 by default.
    ///
    /// They are output tokens, and count towards the request's maximum. In Anthropic's format only requests that enable
    /// thinking get them. A request that asks for reasoning gets 8 tokens if the setting is 0.
    #[must_use]
    pub fn reasoning_tokens(mut self, tokens: u64) -> Self {
        self.settings.reasoning_tokens = tokens;
        self
    }

    /// Sets the percentage of every prompt that counts as cached (at most 100, rounded down to tokens); 0 by default.
    #[must_use]
    pub fn cached_percent(mut self, percent: u8) -> Self {
        self.settings.cached_percent = percent.min(100);
        self
    }

    /// Caches prompts for each organisation ([`limit_organisation`](Self::limit_organisation)), as vendors do; off by default.
    ///
    /// The leading messages of a chat count as cached if an earlier chat of the same organisation and model began with them
    /// within `ttl`, and if they have at least `least` tokens. In Anthropic's format only requests with `cache_control`
    /// breakpoints are cached. A key without an organisation has a cache of its own.
    ///
    /// ```
    /// use llm_testkit::Vendor;
    /// use std::time::Duration;
    ///
    /// let builder = Vendor::builder().prompt_cache(1_024, Duration::from_secs(300));
    /// let vendor = builder.limit_organisation("acme", ["sk-a", "sk-b"], []).build();
    /// assert!(vendor.bills().iter().all(|bill| bill.cached_tokens == 0));
    /// ```
    #[must_use]
    pub fn prompt_cache(mut self, least: u64, ttl: Duration) -> Self {
        self.prompt_cache = Some(PromptCache::new(least, ttl));
        self
    }

    /// Sets the percentage of a prompt's uncached tokens that is written to a cache (at most 100, rounded down to
    /// tokens), for requests with `cache_control` breakpoints; 0 by default.
    #[must_use]
    pub fn cache_write_percent(mut self, percent: u8) -> Self {
        self.settings.cache_write_percent = percent.min(100);
        self
    }

    /// Sets the length of embeddings for requests that do not state one; 8 by default.
    #[must_use]
    pub fn dimensions(mut self, dimensions: NonZeroUsize) -> Self {
        self.settings.dimensions = dimensions.get();
        self
    }

    /// Sets the number of tokens in one event of a stream; 1 by default.
    #[must_use]
    pub fn tokens_per_delta(mut self, tokens: NonZeroUsize) -> Self {
        self.settings.tokens_per_delta = tokens;
        self
    }

    /// Sets the latency of responses; none by default.
    #[must_use]
    pub fn latency(mut self, latency: Latency) -> Self {
        self.settings.latency = latency;
        self
    }

    /// Sets the rate limits that response headers advertise.
    ///
    /// With `None`, no header states limits, not even those that are enforced.
    #[must_use]
    pub fn rate_limits(mut self, limits: Option<RateLimits>) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Makes a header state the organisation of the key ([`limit_organisation`](Self::limit_organisation)), as OpenAI
    /// and Anthropic do; off by default. If the key has several organisations, the header states the first by name.
    #[must_use]
    pub fn state_organisation(mut self, on: bool) -> Self {
        self.settings.states_organisation = on;
        self
    }

    /// Sets the limits that are enforced for each key separately; none by default. A call must fit all limits of its
    /// key.
    #[must_use]
    pub fn limit_each_key(mut self, limits: impl IntoIterator<Item = Limit>) -> Self {
        self.limiter.limit_each(limits.into_iter().collect());
        self
    }

    /// Sets the limits that are enforced for this key. They replace those of [`limit_each_key`](Self::limit_each_key).
    #[must_use]
    pub fn limit_key(mut self, key: impl Into<String>, limits: impl IntoIterator<Item = Limit>) -> Self {
        self.limiter.limit_key(key.into(), limits.into_iter().collect());
        self
    }

    /// Sets the limits that are enforced for these keys together, in addition to those of each key.
    ///
    /// A key may be in several organisations, such as a project and its owner.
    #[must_use]
    pub fn limit_organisation<K: Into<String>>(
        mut self,
        name: impl Into<String>,
        keys: impl IntoIterator<Item = K>,
        limits: impl IntoIterator<Item = Limit>,
    ) -> Self {
        let keys = keys.into_iter().map(Into::into).collect();
        self.limiter.limit_organisation(name.into(), keys, limits.into_iter().collect());
        self
    }

    /// Sets the number of requests that are admitted from each client's address in any period of length `per`,
    /// regardless of their keys; unlimited by default.
    ///
    /// A request beyond that gets a bare 429 in plain text, without limits, waiting time or error code, as from a proxy
    /// in front of the vendor. Requests that this limit refuses do not count. Over HTTP the address is that of the
    /// connection, in process that of [`Transport::from_address`](crate::Transport::from_address).
    #[must_use]
    pub fn limit_each_address(mut self, requests: u64, per: Duration) -> Self {
        self.limiter.limit_each_address(Limit::requests(requests, per));
        self
    }

    /// Sets the number of latest requests that [`Vendor::requests`] returns; 16 by default.
    #[must_use]
    pub fn recorded_requests(mut self, requests: usize) -> Self {
        self.settings.recorded_requests = requests;
        self
    }

    /// Sets the wall clock of the `date` and `retry-after` headers; the system's by default.
    #[must_use]
    pub fn wall_clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.settings.wall = Box::new(now);
        self
    }

    /// Creates the vendor.
    pub fn build(self) -> Vendor {
        Vendor::open(self.settings, self.limiter, self.prompt_cache)
    }
}
