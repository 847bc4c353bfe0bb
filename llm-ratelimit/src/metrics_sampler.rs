//! Gauges that are sampled from time to time, instead of recorded with each call.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use metrics::gauge;

use crate::{Balance, Limiter};

/// Records the remaining share of a limiter's limits and the number of waiting calls as gauges, at each call of
/// `sample`.
///
/// A share is recorded for each limit, under the limit's own words: the least that any tenant has left, of those that used
/// a limit of a calendar window; by choice also each tenant's own. A sample takes time in proportion to these tenants.
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
    /// Gauges of the last sample.
    recorded: BTreeSet<Key>,
}

/// Limit, and the tenant if the gauge is by tenant.
type Key = (String, Option<String>);

impl MetricsSampler {
    /// Makes a sampler without a gauge by tenant.
    pub fn new(limiter: Limiter) -> Self {
        Self { limiter, by_tenant: false, recorded: BTreeSet::new() }
    }

    /// Adds a gauge for each tenant and limit, with the tenant's name as a label. Use it only with few tenants.
    #[must_use]
    pub fn by_tenant(mut self) -> Self {
        self.by_tenant = true;
        self
    }

    /// Records the gauges. A limit or tenant of the last sample that is absent from this one is recorded with its whole
    /// limit left.
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

    /// Returns the shares of the tenants that used a limit of a calendar window.
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
