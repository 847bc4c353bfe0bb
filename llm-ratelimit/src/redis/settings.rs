//! Settings that all parts of the accounts in Redis use.

use std::{fmt, sync::Arc, time::Duration};

use crate::Limit;

/// Policy of a limit while its accounts in Redis cannot be reached.
///
/// ```
/// use std::num::NonZeroU32;
///
/// use llm_ratelimit::{Limit, OutagePolicy, RedisAccounts, llm_redis::Redis};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = Redis::builder("redis://127.0.0.1:1").spawn()?;
/// let instances = NonZeroU32::new(4).ok_or("zero")?;
/// let concurrent: Limit = "20 concurrent".parse()?;
/// let builder = RedisAccounts::builder(redis, instances).on_outage(move |limit| match limit == &concurrent {
///     true => OutagePolicy::Allow,
///     false => OutagePolicy::Refuse,
/// });
/// # let _ = builder;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutagePolicy {
    /// Refuses every call that the limit applies to.
    Refuse,
    /// Admits every call, and counts it once Redis replies again.
    Allow,
    /// Admits calls up to this process's share, which is the limit divided by the number of instances, but at least 1.
    /// The calls are counted once Redis replies again.
    LocalShare,
}

/// Returns the policy of limits for which none was chosen, which is [`Refuse`](OutagePolicy::Refuse) for limits by
/// calendar window, and [`LocalShare`](OutagePolicy::LocalShare) for rates and concurrency limits.
fn default_policy(limit: &Limit) -> OutagePolicy {
    match limit.quota().windows() {
        Some(_) => OutagePolicy::Refuse,
        None => OutagePolicy::LocalShare,
    }
}

/// Function that chooses which limits of which tenants are decided from chunks.
pub(super) type IsChunked = Arc<dyn Fn(&Limit, &str) -> bool + Send + Sync>;

/// Function that chooses the policy of a limit during an outage.
pub(super) type Policy = Arc<dyn Fn(&Limit) -> OutagePolicy + Send + Sync>;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) lease: Duration,
    pub(super) decision_timeout: Duration,
    pub(super) outbox: usize,
    pub(super) policy: Policy,
    pub(super) is_chunked: IsChunked,
    /// Number of equal parts of the free amount, of which each process gets one as its chunk.
    pub(super) parts: u64,
    /// True if all accounts share one hash tag, so that one script decides by all of them. Tests use it to compare each
    /// decision.
    pub(super) has_one_tag: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            decision_timeout: Duration::from_millis(500),
            outbox: 8_192,
            policy: Arc::new(default_policy),
            is_chunked: Arc::new(|_, _| false),
            parts: 2,
            has_one_tag: false,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("lease", &self.lease).finish_non_exhaustive()
    }
}
