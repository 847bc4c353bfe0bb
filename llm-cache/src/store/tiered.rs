use std::sync::Arc;

use super::{Census, Cursor, Entry, Far, Front, Name, Page, Record, Store};
use crate::{Key, Tag, generations::Moment, key::Lent};

/// Memory in front of another store: typed answers, for a short time if one is set. It holds what was stored or fetched
/// here of late; the store behind it holds everything.
pub(crate) struct Tiered {
    front: Front,
    back: Arc<dyn Store>,
}

impl Tiered {
    pub(crate) fn new(front: Front, back: Arc<dyn Store>) -> Self {
        Self { front, back }
    }
}

impl Store for Tiered {
    fn peek(&self, key: Lent<'_>) -> Option<Arc<Entry>> {
        self.front.peek(key)
    }

    fn is_far(&self) -> bool {
        true
    }

    fn fetch<'a>(&'a self, keys: &'a [Key]) -> Far<'a, Vec<Option<Arc<Entry>>>> {
        // What is at hand in a store further away was not looked for.
        let at_hand: Vec<_> = keys.iter().map(|key| self.back.peek(key.lent())).collect();
        if at_hand.iter().all(Option::is_some) {
            return super::at_once(at_hand);
        }
        Box::pin(async move {
            let missing: Vec<Key> =
                keys.iter().zip(&at_hand).filter(|(_, entry)| entry.is_none()).map(|(key, _)| key.clone()).collect();
            let mut fetched = self.back.fetch(&missing).await?.into_iter();
            Ok(at_hand.into_iter().map(|entry| entry.or_else(|| fetched.next().flatten())).collect())
        })
    }

    fn removals(&self) -> u64 {
        self.front.removals()
    }

    fn promote(&self, key: Lent<'_>, entry: &Entry, removals: u64) {
        self.front.promote(key, entry, removals);
    }

    fn put(&self, key: Key, entry: Arc<Entry>) -> bool {
        let kept = self.front.put(key.clone(), &entry);
        self.back.put(key, entry) || kept
    }

    fn discard(&self, key: Lent<'_>, entry: &Entry) {
        self.front.memory.discard(key, entry);
        self.back.discard(key, entry);
    }

    fn remove<'a>(&'a self, key: &'a Key) -> Far<'a, ()> {
        self.front.remove(key);
        Box::pin(async move {
            let removed = self.back.remove(key).await;
            self.front.remove(key);
            removed
        })
    }

    fn invalidate(&self, tag: Option<&Tag>, at: Moment) -> Far<'_, ()> {
        self.back.invalidate(tag, at)
    }

    fn latest(&self) -> Moment {
        self.back.latest()
    }

    fn forget<'a>(&'a self, tenant: &'a str) -> Far<'a, ()> {
        Box::pin(async move {
            self.front.forget(tenant).await?;
            self.back.forget(tenant).await
        })
    }

    fn clear(&self) -> Far<'_, ()> {
        Box::pin(async move {
            self.front.clear().await?;
            self.back.clear().await
        })
    }

    /// That of the store behind, which has all that memory has.
    fn census(&self) -> Census {
        self.back.census()
    }

    fn evictions(&self) -> u64 {
        self.front.memory.evictions() + self.back.evictions()
    }

    fn close(&self) -> Far<'_, ()> {
        self.back.close()
    }

    fn scan(&self, after: Option<Cursor>, most: usize) -> Far<'_, Page> {
        self.back.scan(after, most)
    }

    fn write_records(&self, records: Vec<Record>) -> Far<'_, u64> {
        self.back.write_records(records)
    }

    fn remove_named(&self, names: Vec<Name>) -> Far<'_, u64> {
        self.back.remove_named(names)
    }
}
