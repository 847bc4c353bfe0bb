//! Variants: several responses to one request, served round robin.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use foldhash::quality::RandomState;
use moka::sync::Cache;

use crate::key::BorrowedKey;

/// Round robin over the variants of a request's response.
///
/// It counts the calls of each request, by the hash of the request's key. Requests with the same hash, which are rare,
/// share a counter. A request whose counter was evicted begins again with its first variant.
pub(crate) struct Variants {
    max_variants: u32,
    counters: Cache<u64, Arc<AtomicU32>, RandomState>,
}

/// Largest number of counters, of about 200 bytes each.
const MAX_COUNTERS: u64 = 32_768;

impl Variants {
    /// Creates the round robin over up to `max_variants` responses to each request; `None` for one response.
    pub(crate) fn new(max_variants: u32) -> Option<Self> {
        let counters = || Cache::builder().max_capacity(MAX_COUNTERS).build_with_hasher(RandomState::default());
        (max_variants > 1).then(|| Self { max_variants, counters: counters() })
    }

    /// Returns the number of a request's next variant, from 0. `first` is the key of its first variant.
    pub(crate) fn next(&self, first: BorrowedKey<'_>) -> u32 {
        let counter = self.counters.get_with(first.hash(), Arc::default);
        counter.fetch_add(1, Ordering::Relaxed) % self.max_variants
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    #[test]
    fn variants_rotate_per_request_without_holding_it() {
        let variants = Variants::new(3).unwrap();
        let text = "x".repeat(100_000);
        let keys: Vec<Key> = (0..20).map(|n| Key::of("ns", "acme", "op", &(n, &text)).unwrap()).collect();
        for counter in [0, 1, 2, 0] {
            assert!(keys.iter().all(|key| variants.next(key.borrowed()) == counter));
        }
        variants.counters.run_pending_tasks();
        let named: usize = variants.counters.iter().map(|(name, _)| size_of_val(&*name)).sum();
        assert_eq!(named, 20 * 8);
        assert!(Variants::new(1).is_none());
    }
}
