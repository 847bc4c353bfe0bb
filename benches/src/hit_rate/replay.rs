use std::time::Duration;

use llm_cache::{Cache, CacheBuilder, CacheLayer, Cached, Directive, EvictionPolicy, Ttl};
use llm_core::{Call, ChatRequest, ManualClock, Origin};
use tower::{Layer as _, Service};

use super::Request;
use crate::vendor::AtOnce;

/// Settings of a measured cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Capacity, in responses.
    pub capacity: usize,
    /// Policy that chooses the responses to evict.
    pub policy: EvictionPolicy,
    /// Time to live of a response; `None` if responses never expire.
    pub ttl: Option<Duration>,
}

/// Real cache layer over a vendor that responds at once. Its clock follows the times of the requests.
#[derive(Debug)]
pub struct Layer {
    service: Cached<AtOnce>,
    vendor: AtOnce,
    clock: ManualClock,
}

impl Layer {
    /// Creates an empty cache. All requests and responses have the same size, so that a limit in bytes is a limit in
    /// responses.
    pub async fn new(settings: &CacheSettings) -> Self {
        let mut probe = Self::of(Cache::builder("hit-rate"));
        probe.send(&Request { at: Duration::ZERO, tenant: 0, prompt: 0 }).await;
        let weight = probe.service.cache().stats().bytes;

        let builder =
            Cache::builder("hit-rate").max_bytes(weight * settings.capacity as u64).eviction_policy(settings.policy);
        Self::of(match settings.ttl {
            Some(ttl) => builder.ttl(ttl),
            None => builder.ttl(Ttl::unlimited()),
        })
    }

    /// Sends a request at its time, and returns `true` if the response came from the cache.
    pub async fn send(&mut self, request: &Request) -> bool {
        self.clock.set_unix(request.at);
        let reply = self.service.call(call(request)).await.expect("the vendor responds to everything");
        matches!(reply.receipt.origin(), Origin::Cache { .. })
    }

    /// Returns `true` if the cache holds the response. If it does not, no call is sent and nothing is evicted.
    pub async fn holds(&mut self, request: &Request) -> bool {
        self.clock.set_unix(request.at);
        let mut call = call(request);
        call.extensions.insert(Directive::new().only_if_cached());
        self.service.call(call).await.is_ok()
    }

    /// Sends all requests, and returns the number of hits.
    ///
    /// # Errors
    ///
    /// A description of the difference if the numbers in the replies, in the cache's statistics and at the vendor do
    /// not agree, or if the cache holds more responses than fit.
    pub async fn hits(&mut self, requests: &[Request], settings: &CacheSettings) -> Result<u64, String> {
        let mut hits = 0;
        for request in requests {
            hits += u64::from(self.send(request).await);
        }
        let (stats, misses) = (self.service.cache().stats(), requests.len() as u64 - hits);
        if (stats.hits, stats.misses, self.vendor.calls()) != (hits, misses, misses) {
            let calls = self.vendor.calls();
            return Err(format!("replies tell of {hits} hits, the vendor of {calls} calls, the cache of {stats:?}"));
        }
        if stats.entries > settings.capacity as u64 {
            return Err(format!("{} responses are held where {} fit", stats.entries, settings.capacity));
        }
        Ok(hits)
    }

    fn of(builder: CacheBuilder) -> Self {
        let (clock, vendor) = (ManualClock::default(), AtOnce::saying("a test case"));
        let cache = builder.clock(clock.clone()).build().expect("the settings are right");
        Self { service: CacheLayer::new(cache).layer(vendor.clone()), vendor, clock }
    }
}

/// Creates the call for a request. All calls have the same length, whatever the numbers are.
fn call(request: &Request) -> Call<ChatRequest> {
    let (tenant, prompt) = (format!("{:03}", request.tenant), format!("{:010}", request.prompt));
    Call::new(tenant, ChatRequest::new("gpt-4o-mini").user(prompt))
}
