use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use foldhash::quality::RandomState;
use moka::sync::Cache;

use crate::{Key, key::Lent};

/// Which of several answers to a question is whose turn.
///
/// The turns of the questions asked last are remembered. Where a turn was forgotten, the first answer is next.
pub(crate) struct Samples {
    most: u32,
    turns: Cache<Key, Arc<AtomicU32>, RandomState>,
}

/// How many questions' turns are remembered.
const TURNS: u64 = 100_000;

impl Samples {
    /// Up to `most` answers each; `None` if that is one.
    pub(crate) fn new(most: u32) -> Option<Self> {
        let turns = || Cache::builder().max_capacity(TURNS).build_with_hasher(RandomState::default());
        (most > 1).then(|| Self { most, turns: turns() })
    }

    /// The number of the answer that is next for the question whose first answer has this key.
    pub(crate) fn next(&self, first: Lent<'_>) -> u32 {
        let known = self.turns.get(&first);
        let turn = known.unwrap_or_else(|| self.turns.get_with(first.to_key(), Arc::default));
        turn.fetch_add(1, Ordering::Relaxed) % self.most
    }
}
