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
    /// Entries served, stale ones included.
    pub hits: u64,
    /// Number of `hits` from the remote tier: a file or Redis.
    pub remote_hits: u64,
    /// Number of `hits` that were stale.
    pub stale: u64,
    /// Calls sent because no entry could be served. They are counted when they are sent, so failed ones count too.
    pub misses: u64,
    /// Calls sent because of [`Directive::no_store`](crate::Directive::no_store) or [`Directive::no_cache`](crate::Directive::no_cache).
    pub bypassed: u64,
    /// Failed calls, of all that the cache sent: `misses`, `bypassed`, `revalidated` and `verified`.
    pub failed_calls: u64,
    /// Responses of calls that were running already.
    pub coalesced: u64,
    /// Errors served from the negative cache.
    pub negative_hits: u64,
    /// Responses stored.
    pub stored: u64,
    /// Responses that were too large to store: larger than
    /// [`CacheBuilder::max_response_bytes`](crate::CacheBuilder::max_response_bytes), or than the whole memory if that
    /// is the store. The first is logged.
    pub too_large: u64,
    /// Failures of a file or of Redis. A lookup that fails is a miss.
    pub store_errors: u64,
    /// Entries at rest that could not be read: tampered with, truncated, written by another library or a newer version,
    /// or sealed with a missing key. Each was a miss.
    pub corrupt: u64,
    /// Entries that were not written to the file or Redis, because too many were waiting, the entry was too large, or
    /// the store failed.
    pub dropped_writes: u64,
    /// Calls sent under a lease, for which other processes that share the store wait.
    pub leased: u64,
    /// Times that this process waited for the call of another.
    pub awaited: u64,
    /// Leases that ended before their call, because they expired or another process took them over after an invalidation.
    pub lost_leases: u64,
    /// Calls sent in the background to replace stale entries.
    pub revalidated: u64,
    /// Background calls that were not sent because too many were running.
    pub skipped: u64,
    /// Calls completed in the background after their last caller had left.
    pub detached: u64,
    /// Hits whose request was sent again for [`Verification`](crate::Verification).
    pub verified: u64,
    /// Number of `verified` hits with another response.
    pub mismatched: u64,
    /// List price of the responses that were not paid for again, as far as it is known.
    pub saved: Usd,
    /// Entries evicted from any tier.
    pub evictions: u64,
    /// Present number of entries: in a file or else in memory. With Redis, those of the local tier.
    pub entries: u64,
    /// Bytes that these entries count against the capacity.
    pub bytes: u64,
    /// Present number of running calls.
    pub running: u64,
}
