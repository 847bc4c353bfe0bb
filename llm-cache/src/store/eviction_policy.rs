//! Eviction policies of stores in memory and of local tiers.

/// Policy by which a full store in memory, or a full local tier, evicts entries.
///
/// ```
/// use llm_cache::{Cache, EvictionPolicy};
///
/// let cache = Cache::builder("support").eviction_policy(EvictionPolicy::TinyLfu).build()?;
/// # Ok::<_, llm_cache::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvictionPolicy {
    /// Evicts the least recently used entry. New entries are kept, which suits applications whose requests change
    /// slowly.
    #[default]
    Lru,
    /// Evicts the least frequently used entry (W-TinyLFU). A scan does not empty the cache, but a full cache admits a
    /// new key only after several requests for it.
    TinyLfu,
}
