//! Eviction policies of the memory.

/// Eviction policy of a full memory.
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
