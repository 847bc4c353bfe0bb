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
    /// Evicts the least recently used entry. New entries stay, which suits requests that change slowly.
    #[default]
    Lru,
    /// Evicts the least frequently used entry (W-TinyLFU). It withstands scans, and admits a new key to a full cache
    /// only after several requests for it.
    TinyLfu,
}
