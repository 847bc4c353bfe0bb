use std::collections::HashMap;

use super::disk::{Books, Drops};
use crate::generations::Moment;

/// What was invalidated, in this process or before it, as the file remembers it.
pub(super) struct Dropped {
    floor: Moment,
    tags: HashMap<[u8; 32], Moment>,
}

impl Dropped {
    /// The most tags that are remembered one by one.
    const MOST: usize = 10_000;

    pub(super) fn new(books: &Books, drops: Drops) -> Self {
        Self { floor: books.floor, tags: drops.into_iter().collect() }
    }

    /// Drops a tag; tells whether everything had to go instead, because there are too many tags.
    pub(super) fn tag(&mut self, tag: [u8; 32], at: Moment) -> bool {
        let full = self.tags.len() >= Self::MOST && !self.tags.contains_key(&tag);
        if full {
            self.all(at);
        }
        let known = self.tags.entry(tag).or_insert(at);
        *known = at.max(*known);
        full
    }

    pub(super) fn all(&mut self, at: Moment) {
        self.tags.clear();
        self.floor = self.floor.max(at);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.floor == Moment::default()
    }

    /// True if what has these tags and began at a moment is still good.
    pub(super) fn allow(&self, tags: impl IntoIterator<Item = [u8; 32]>, begun: Moment) -> bool {
        begun > self.floor && tags.into_iter().all(|tag| self.tags.get(&tag).is_none_or(|dropped| begun > *dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_tags_is_bounded_and_drops_too_much_rather_than_too_little() {
        let tag = |n: usize| *blake3::hash(&n.to_le_bytes()).as_bytes();
        let at = |n: usize| Moment::from_nanos(n as u64 + 1);
        let mut dropped = Dropped::new(&Books::default(), Drops::new());
        for n in 0..Dropped::MOST {
            assert!(!dropped.tag(tag(n), at(n)), "there is room for it");
        }
        assert!(dropped.allow([tag(9)], at(10)) && !dropped.allow([tag(9)], at(9)));
        assert!(!dropped.tag(tag(0), at(Dropped::MOST)), "it is known");
        assert!(dropped.tag(tag(Dropped::MOST), at(Dropped::MOST)), "everything goes");
        assert!(!dropped.allow([], at(Dropped::MOST)) && dropped.allow([tag(9)], at(Dropped::MOST + 1)));
        assert_eq!(dropped.tags.len(), 1);
    }
}
