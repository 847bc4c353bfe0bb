use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use foldhash::quality::RandomState;
use moka::sync::Cache;

use crate::key::Lent;

/// Which of several answers to a question is whose turn.
///
/// The turns of the questions asked last are remembered, by the keyed hashes of their keys: questions of one hash, which are
/// rare, take turns together. Where a turn was forgotten, the first answer is next.
pub(crate) struct Samples {
    most: u32,
    turns: Cache<u64, Arc<AtomicU32>, RandomState>,
}

/// How many questions' turns are remembered: some 200 bytes each.
const TURNS: u64 = 32_768;

impl Samples {
    /// Up to `most` answers each; `None` if that is one.
    pub(crate) fn new(most: u32) -> Option<Self> {
        let turns = || Cache::builder().max_capacity(TURNS).build_with_hasher(RandomState::default());
        (most > 1).then(|| Self { most, turns: turns() })
    }

    /// The number of the answer that is next for the question whose first answer has this key.
    pub(crate) fn next(&self, first: Lent<'_>) -> u32 {
        let turn = self.turns.get_with(first.hash(), Arc::default);
        turn.fetch_add(1, Ordering::Relaxed) % self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    #[test]
    fn turns_go_round_by_question_and_hold_nothing_of_it() {
        let samples = Samples::new(3).unwrap();
        let text = "x".repeat(100_000);
        let keys: Vec<Key> = (0..20).map(|n| Key::of("ns", "acme", "op", &(n, &text)).unwrap()).collect();
        for turn in [0, 1, 2, 0] {
            assert!(keys.iter().all(|key| samples.next(key.lent()) == turn));
        }
        samples.turns.run_pending_tasks();
        let named: usize = samples.turns.iter().map(|(name, _)| size_of_val(&*name)).sum();
        assert_eq!(named, 20 * 8);
        assert!(Samples::new(1).is_none());
    }
}
