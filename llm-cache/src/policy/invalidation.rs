//! Times at which tags were invalidated.
//!
//! An invalidation writes one timestamp and visits no entry. Each lookup compares the start of the entry's call with
//! the timestamps of its tags. In this way the response of a call that still runs is invalidated as well.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use crate::Tag;

/// Timestamp in nanoseconds since 1970. It is later than all timestamps issued before, even if the clock is set back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(u64);

#[cfg(feature = "at-rest")]
impl Timestamp {
    pub(crate) fn nanos(self) -> u64 {
        self.0
    }

    pub(crate) fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }
}

/// Timestamps of the last invalidation of each tag. An entry is valid if its call began after the last invalidation of
/// each of its tags.
#[derive(Default)]
pub(crate) struct InvalidationEpochs {
    last: AtomicU64,
    /// False until the first invalidation, so that lookups need no lock until then.
    any: AtomicBool,
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    /// Timestamp of the last invalidation of all entries.
    floor: Timestamp,
    tags: HashMap<Tag, Timestamp>,
}

impl InvalidationEpochs {
    /// Largest number of tags that are remembered. If another one is invalidated, all entries of earlier calls become
    /// invalid.
    const MOST: usize = 10_000;

    /// Issues a timestamp for the time `now`, later than all timestamps issued before.
    pub(crate) fn timestamp(&self, now: SystemTime) -> Timestamp {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX - 1);
        let next = |last: u64| Some(now.max(last.saturating_add(1)));
        let last = self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).unwrap_or_default();
        Timestamp(now.max(last.saturating_add(1)))
    }

    /// Makes all timestamps issued from now on later than `to`.
    pub(crate) fn advance(&self, to: Timestamp) {
        self.last.fetch_max(to.0, Ordering::AcqRel);
    }

    /// Invalidates the entries with this tag whose calls began before now. Returns the timestamp of the invalidation.
    pub(crate) fn invalidate(&self, tag: Tag, now: SystemTime) -> Timestamp {
        let timestamp = self.timestamp(now);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.tags.len() >= Self::MOST && !table.tags.contains_key(&tag) {
            table.tags.clear();
            table.floor = timestamp;
        }
        table.tags.insert(tag, timestamp);
        self.any.store(true, Ordering::Release);
        timestamp
    }

    /// Invalidates all entries whose calls began before now. Returns the timestamp of the invalidation.
    pub(crate) fn invalidate_all(&self, now: SystemTime) -> Timestamp {
        let timestamp = self.timestamp(now);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.tags.clear();
        table.floor = timestamp;
        self.any.store(true, Ordering::Release);
        timestamp
    }

    /// Returns `true` if an entry with these tags, of a call that began at this timestamp, is still valid.
    pub(crate) fn allow(&self, tags: &[Tag], started_at: Timestamp) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return true;
        }
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        started_at > table.floor
            && tags.iter().filter_map(|tag| table.tags.get(tag)).all(|dropped| started_at > *dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;

    #[test]
    fn invalidation_orders_calls_even_if_clock_stands() {
        let epochs = InvalidationEpochs::default();
        let tags = [Tag::tenant("a"), Tag::model("m")];
        let before = epochs.timestamp(NOW);
        assert!(epochs.allow(&tags, before));
        epochs.invalidate(Tag::model("m"), NOW);
        let after = epochs.timestamp(NOW);
        assert!(!epochs.allow(&tags, before) && epochs.allow(&tags, after));
        assert!(epochs.allow(&[Tag::tenant("a")], before), "other tags are not touched");
        epochs.invalidate_all(NOW);
        assert!(!epochs.allow(&[], after));
    }

    #[test]
    fn invalidation_with_too_many_tags_drops_everything() {
        let epochs = InvalidationEpochs::default();
        let old = epochs.timestamp(NOW);
        epochs.invalidate(Tag::named("mine"), NOW);
        for n in 0..2 * InvalidationEpochs::MOST {
            epochs.invalidate(Tag::named(&n.to_string()), NOW);
        }
        assert!(!epochs.allow(&[Tag::named("mine")], old));
        assert!(epochs.table.read().unwrap().tags.len() <= InvalidationEpochs::MOST);
    }
}
