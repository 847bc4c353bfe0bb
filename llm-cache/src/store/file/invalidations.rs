//! Invalidations that a file remembers across restarts.

use std::collections::HashMap;

use super::disk::{InvalidatedTags, Totals};
use crate::policy::Timestamp;

/// Invalidations that the file remembers, by this process or an earlier one.
pub(super) struct Invalidations {
    floor: Timestamp,
    tags: HashMap<[u8; 32], Timestamp>,
}

impl Invalidations {
    /// Largest number of tags that are remembered individually.
    const MOST: usize = 10_000;

    pub(super) fn new(totals: &Totals, invalidated_tags: InvalidatedTags) -> Self {
        Self { floor: totals.floor, tags: invalidated_tags.into_iter().collect() }
    }

    /// Invalidates a tag. If too many tags are remembered, invalidates all entries instead, and returns `true`.
    pub(super) fn tag(&mut self, tag: [u8; 32], at: Timestamp) -> bool {
        let full = self.tags.len() >= Self::MOST && !self.tags.contains_key(&tag);
        if full {
            self.all(at);
        }
        let known = self.tags.entry(tag).or_insert(at);
        *known = at.max(*known);
        full
    }

    pub(super) fn all(&mut self, at: Timestamp) {
        self.tags.clear();
        self.floor = self.floor.max(at);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.floor == Timestamp::default()
    }

    /// Returns `true` if an entry with these tags, of a call that began at this timestamp, is still valid.
    pub(super) fn allow(&self, tags: impl IntoIterator<Item = [u8; 32]>, started_at: Timestamp) -> bool {
        started_at > self.floor
            && tags.into_iter().all(|tag| self.tags.get(&tag).is_none_or(|invalidations| started_at > *invalidations))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalidation_with_too_many_tags_drops_everything() {
        let tag = |n: usize| *blake3::hash(&n.to_le_bytes()).as_bytes();
        let at = |n: usize| Timestamp::from_nanos(n as u64 + 1);
        let mut invalidations = Invalidations::new(&Totals::default(), InvalidatedTags::new());
        for n in 0..Invalidations::MOST {
            assert!(!invalidations.tag(tag(n), at(n)), "there is room for it");
        }
        assert!(invalidations.allow([tag(9)], at(10)) && !invalidations.allow([tag(9)], at(9)));
        assert!(!invalidations.tag(tag(0), at(Invalidations::MOST)), "it is known");
        assert!(invalidations.tag(tag(Invalidations::MOST), at(Invalidations::MOST)), "everything goes");
        assert!(
            !invalidations.allow([], at(Invalidations::MOST))
                && invalidations.allow([tag(9)], at(Invalidations::MOST + 1))
        );
        assert_eq!(invalidations.tags.len(), 1);
    }
}
