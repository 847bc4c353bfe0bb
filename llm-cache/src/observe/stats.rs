//! Statistics of a cache, as [`Cache::stats`](crate::Cache::stats) returns them.

use llm_core::Usd;

/// Counters of a cache since it was built, and its present size.
///
/// ```
/// use llm_cache::Cache;
///
/// # tokio_test::block_on(async {
/// let cache = Cache::builder("support").build()?;
/// let key = cache.key("acme", "greet", "Hello!")?;
/// for _ in 0..2 {
///     cache.get_or_call(&key, || async { Ok::<_, std::io::Error>("Hi.".to_owned()) }).await?;
/// }
/// let stats = cache.stats();
/// assert_eq!((stats.hits, stats.misses, stats.entries), (1, 1, 1));
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Number of entries that were served, including stale ones.
    pub hits: u64,
    /// Number of `hits` from the remote tier: a file or Redis.
    pub remote_hits: u64,
    /// Number of `hits` that were stale.
    pub stale: u64,
    /// Number of calls that were sent because no entry could be served. They are counted when they are sent, so failed
    /// calls are included.
    pub misses: u64,
    /// Number of calls that were sent because of [`Directive::no_store`](crate::Directive::no_store) or
    /// [`Directive::no_cache`](crate::Directive::no_cache).
    pub bypassed: u64,
    /// Number of failed calls, among all that the cache sent: `misses`, `bypassed`, `revalidated` and `verified`.
    pub failed_calls: u64,
    /// Number of responses that came from a call that was already running.
    pub coalesced: u64,
    /// Number of errors that were served from the negative cache.
    pub negative_hits: u64,
    /// Number of responses that were stored.
    pub stored: u64,
    /// Number of responses that were too large to store: larger than
    /// [`CacheBuilder::max_response_bytes`](crate::CacheBuilder::max_response_bytes), or than the capacity of a store
    /// in memory. The first such response is logged.
    pub too_large: u64,
    /// Number of failures of a file or of Redis. A lookup that fails is a miss.
    pub store_errors: u64,
    /// Number of stored entries that could not be read: tampered with, truncated, written by another library or a newer
    /// version, or sealed with a missing key. Each was a miss.
    pub corrupt: u64,
    /// Number of entries that were not written to the file or Redis, because too many entries were waiting, the entry
    /// was too large, or the store failed.
    pub dropped_writes: u64,
    /// Number of calls that were sent under a lease, so that other processes that share the store waited for them.
    pub leased: u64,
    /// Number of times that this process waited for the call of another process.
    pub awaited: u64,
    /// Number of leases that ended before their call, because they expired or another process took them over after an
    /// invalidation.
    pub lost_leases: u64,
    /// Number of background calls that were sent to replace stale entries.
    pub revalidated: u64,
    /// Number of background calls that were not sent because too many were running.
    pub skipped: u64,
    /// Number of calls that were completed in the background after their last caller had disconnected.
    pub detached: u64,
    /// Number of hits whose request was sent again for [`Verification`](crate::Verification).
    pub verified: u64,
    /// Number of `verified` hits whose new response differed.
    pub mismatched: u64,
    /// List price of the responses that did not have to be paid again. Responses with unknown prices are not included.
    pub saved: Usd,
    /// Number of entries that were evicted from any tier.
    pub evictions: u64,
    /// Current number of entries: in the file if there is one, and otherwise in memory. With Redis, the number in the
    /// local tier.
    pub entries: u64,
    /// Size of these entries, in bytes, as it counts against the capacity.
    pub bytes: u64,
    /// Number of items whose calls are running now. A request that is not divided is one item.
    pub running: u64,
}
