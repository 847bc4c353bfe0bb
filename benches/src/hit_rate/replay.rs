use std::time::Duration;

use llm_cache::{Cache, CacheBuilder, CacheLayer, Cached, Directive, EvictionPolicy, Ttl};
use llm_core::{Call, ChatRequest, ManualClock, Origin};
use tower::{Layer as _, Service};

use super::Asked;
use crate::vendor::AtOnce;

/// How answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Room, in answers.
    pub capacity: usize,
    /// Which go first.
    pub policy: EvictionPolicy,
    /// For how long; `None` is for ever.
    pub ttl: Option<Duration>,
}

/// The real cache layer over a vendor that answers at once, under a clock that follows the questions.
#[derive(Debug)]
pub struct Layer {
    service: Cached<AtOnce>,
    vendor: AtOnce,
    clock: ManualClock,
}

impl Layer {
    /// A new one, empty. All its questions and answers weigh the same, so that a bound in bytes is one in answers.
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

    /// Asks, at the question's time; tells whether the answer was there.
    pub async fn ask(&mut self, asked: &Asked) -> bool {
        self.clock.set_unix(asked.at);
        let reply = self.service.call(call(asked)).await.expect("the vendor answers everything");
        matches!(reply.receipt.origin(), Origin::Cache { .. })
    }

    /// Returns `true` if the answer is there. If not, no call is sent, and nothing is evicted for it.
    pub async fn holds(&mut self, asked: &Asked) -> bool {
        self.clock.set_unix(asked.at);
        let mut call = call(asked);
        call.extensions.insert(Directive::new().only_if_cached());
        self.service.call(call).await.is_ok()
    }

    /// Asks all; counts the answers that were there.
    ///
    /// # Errors
    ///
    /// What does not agree, if what the replies say, what the cache counted and what the vendor saw are not the same, or
    /// if there are more answers than fit.
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

/// A question of one length, whatever the numbers are.
fn call(asked: &Asked) -> Call<ChatRequest> {
    let (tenant, question) = (format!("{:03}", asked.tenant), format!("{:010}", asked.question));
    Call::new(tenant, ChatRequest::new("gpt-4o-mini").user(question))
}
