use std::time::Duration;

use llm_cache::{Cache, CacheBuilder, CacheLayer, Cached, Directive, EvictionPolicy, Ttl};
use llm_core::{Call, ChatRequest, ManualClock, Origin};
use tower::{Layer as _, Service};

use super::Asked;
use crate::vendor::AtOnce;

/// Settings of a measured cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Capacity, in answers.
    pub capacity: usize,
    /// Policy that chooses the answers to evict.
    pub policy: EvictionPolicy,
    /// Time to live of an answer; `None` if answers never expire.
    pub ttl: Option<Duration>,
}

/// Real cache layer over a vendor that answers at once. Its clock follows the times of the questions.
#[derive(Debug)]
pub struct Layer {
    service: Cached<AtOnce>,
    vendor: AtOnce,
    clock: ManualClock,
}

impl Layer {
    /// Creates an empty cache. All questions and answers have the same size, so that a limit in bytes is a limit in
    /// answers.
    pub async fn new(keeping: &Keeping) -> Self {
        let mut probe = Self::of(Cache::builder("hit-rate"));
        probe.ask(&Asked { at: Duration::ZERO, tenant: 0, question: 0 }).await;
        let weight = probe.service.cache().stats().bytes;

        let builder =
            Cache::builder("hit-rate").max_bytes(weight * keeping.capacity as u64).eviction_policy(keeping.policy);
        Self::of(match keeping.ttl {
            Some(ttl) => builder.ttl(ttl),
            None => builder.ttl(Ttl::unlimited()),
        })
    }

    /// Asks a question at its time, and returns `true` if the answer came from the cache.
    pub async fn ask(&mut self, asked: &Asked) -> bool {
        self.clock.set_unix(asked.at);
        let reply = self.service.call(call(asked)).await.expect("the vendor answers everything");
        matches!(reply.receipt.origin(), Origin::Cache { .. })
    }

    /// Returns `true` if the cache holds the answer. If it does not, no call is sent and nothing is evicted.
    pub async fn holds(&mut self, asked: &Asked) -> bool {
        self.clock.set_unix(asked.at);
        let mut call = call(asked);
        call.extensions.insert(Directive::new().only_if_cached());
        self.service.call(call).await.is_ok()
    }

    /// Asks all questions, and returns the number of hits.
    ///
    /// # Errors
    ///
    /// A description of the difference if the numbers in the replies, in the cache's statistics and at the vendor do
    /// not agree, or if the cache holds more answers than fit.
    pub async fn hits(&mut self, asked: &[Asked], keeping: &Keeping) -> Result<u64, String> {
        let mut hits = 0;
        for asked in asked {
            hits += u64::from(self.ask(asked).await);
        }
        let (stats, unanswered) = (self.service.cache().stats(), asked.len() as u64 - hits);
        if (stats.hits, stats.misses, self.vendor.calls()) != (hits, unanswered, unanswered) {
            let calls = self.vendor.calls();
            return Err(format!("replies tell of {hits} hits, the vendor of {calls} calls, the cache of {stats:?}"));
        }
        if stats.entries > keeping.capacity as u64 {
            return Err(format!("{} answers are held where {} fit", stats.entries, keeping.capacity));
        }
        Ok(hits)
    }

    fn of(builder: CacheBuilder) -> Self {
        let (clock, vendor) = (ManualClock::default(), AtOnce::saying("a test case"));
        let cache = builder.clock(clock.clone()).build().expect("the settings are right");
        Self { service: CacheLayer::new(cache).layer(vendor.clone()), vendor, clock }
    }
}

/// Creates the call for a question. All calls have the same length, whatever the numbers are.
fn call(asked: &Asked) -> Call<ChatRequest> {
    let (tenant, question) = (format!("{:03}", asked.tenant), format!("{:010}", asked.question));
    Call::new(tenant, ChatRequest::new("gpt-4o-mini").user(question))
}
