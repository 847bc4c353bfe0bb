//! Gauges that are sampled from time to time, instead of recorded with each call.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use metrics::gauge;

use crate::{Balance, Limiter};

/// Recorder of gauges: each call of `sample` records the remaining shares of a limiter's limits, and the number of
/// waiting calls.
///
/// For each limit, labelled by its text, it records the smallest share that a tenant has left, among the tenants that
/// used a limit on a calendar window. With [`by_tenant`](Self::by_tenant) it also records the share of each tenant. The
/// time of a sample is proportional to the number of these tenants.
///
/// ```
/// use llm_ratelimit::{Limiter, MetricsSampler, Plans};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter = Limiter::builder(Plans::uniform(["10k tokens/day", "10/minute"])?).build()?;
/// let mut sampler = MetricsSampler::new(limiter);
/// // At each scrape, or every few seconds:
/// sampler.sample().await;
/// # Ok(())
/// # }
/// ```
pub struct MetricsSampler {
    limiter: Limiter,
    by_tenant: bool,
    /// Gauges of the previous sample.
    recorded: BTreeSet<Key>,
}

/// Text of the limit, and the tenant for a gauge by tenant.
type Key = (String, Option<String>);

impl MetricsSampler {
    /// Creates a sampler without gauges by tenant.
    pub fn new(limiter: Limiter) -> Self {
        Self { limiter, by_tenant: false, recorded: BTreeSet::new() }
    }

    /// Adds a gauge for each tenant and limit, with the tenant's name as a label. Use it only with few tenants.
    #[must_use]
    pub fn by_tenant(mut self) -> Self {
        self.by_tenant = true;
        self
    }

    /// Records the gauges. A limit or tenant that was in the previous sample and is not in this one is recorded with
    /// its whole limit left.
    pub async fn sample(&mut self) {
        let used = self.shares().await;
        let mut shares: BTreeMap<Key, f64> =
            std::mem::take(&mut self.recorded).into_iter().map(|key| (key, 1.0)).collect();
        self.recorded = used.keys().cloned().collect();
        shares.extend(used);
        gauge!("llm_ratelimit_waiting_calls").set(self.limiter.stats().waiting as f64);
        for ((limit, tenant), share) in shares {
            match tenant {
                None => gauge!("llm_ratelimit_least_share_left", "limit" => limit).set(share),
                Some(tenant) => {
                    gauge!("llm_ratelimit_tenant_share_left", "limit" => limit, "tenant" => tenant).set(share);
                }
            }
        }
    }

    /// Returns the remaining shares of the tenants that used a limit on a calendar window.
    async fn shares(&self) -> BTreeMap<Key, f64> {
        let balances = self.limiter.balances().await;
        let tenants: BTreeSet<&str> = balances.iter().filter_map(Balance::tenant).collect();
        let mut shares = BTreeMap::new();
        for tenant in tenants {
            for status in self.limiter.usage(tenant).await.iter().filter(|status| status.amount > 0) {
                let (limit, left) = (status.limit.to_string(), status.remaining as f64 / status.amount as f64);
                if self.by_tenant {
                    shares.insert((limit.clone(), Some(tenant.to_owned())), left);
                }
                let least = shares.entry((limit, None)).or_insert(left);
                *least = least.min(left);
            }
        }
        shares
    }
}

impl fmt::Debug for MetricsSampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsSampler").field("limiter", &self.limiter).finish_non_exhaustive()
    }
}
