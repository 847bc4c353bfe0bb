use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use foldhash::quality::RandomState;
use moka::sync::Cache;

use crate::key::BorrowedKey;

/// Which of several answers to a question is whose turn.
///
/// The turns of the questions asked last are remembered, by the keyed hashes of their keys: questions of one hash, which are
/// rare, take turns together. Where a turn was forgotten, the first answer is next.
pub(crate) struct Variants {
    max_variants: u32,
    counters: Cache<u64, Arc<AtomicU32>, RandomState>,
}

/// How many questions' turns are remembered: some 200 bytes each.
const MAX_COUNTERS: u64 = 32_768;

impl Variants {
    /// Up to `max_variants` answers each; `None` if that is one.
    pub(crate) fn new(max_variants: u32) -> Option<Self> {
        let counters = || Cache::builder().max_capacity(MAX_COUNTERS).build_with_hasher(RandomState::default());
        (max_variants > 1).then(|| Self { max_variants, counters: counters() })
    }

    /// The number of the answer that is next for the question whose first answer has this key.
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
