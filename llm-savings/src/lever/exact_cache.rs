//! Lever that stores one response for each distinct request, in caches with different times to live and capacities.

use std::{collections::HashMap, time::Duration};

use hashlink::LruCache;

use super::call::{Call, NO_REQUESTS, NO_TIMES, Saved};
use crate::{
    options::{self, Options},
    report::{Effect, Finding, Lever, Row, grouped},
};

/// Simulated caches. For each distinct request they keep its digest, and four bytes for each time to live.
#[derive(Debug)]
pub(crate) struct ExactCache {
    index: HashMap<u64, u32>,
    /// For each distinct request and time to live, the second at which the entry was stored.
    stored: Vec<u32>,
    ttls: Vec<Duration>,
    /// Index in `ttls` of the cache above the other levers; `None` if the entries of that cache do not expire.
    above: Option<usize>,
    by_ttl: Vec<Saved>,
    unlimited: Saved,
    capacities: Vec<(LruCache<u64, ()>, Saved)>,
    keyed: u64,
    untimed: u64,
}

impl ExactCache {
    pub(crate) fn new(options: &Options) -> Self {
        let mut ttls = options.ttls.clone();
        ttls.extend(options.cache_ttl);
        ttls.sort_unstable();
        ttls.dedup();
        Self {
            index: HashMap::new(),
            stored: Vec::new(),
            above: options.cache_ttl.and_then(|ttl| ttls.iter().position(|other| *other == ttl)),
            by_ttl: vec![Saved::default(); ttls.len()],
            ttls,
            unlimited: Saved::default(),
            capacities: options.capacities.iter().map(|size| (LruCache::new(*size), Saved::default())).collect(),
            keyed: 0,
            untimed: 0,
        }
    }

    /// Returns the number of distinct requests.
    pub(crate) fn distinct(&self) -> u64 {
        self.index.len() as u64
    }

    /// Counts a call in every simulated cache. Returns `true` if the cache above the other levers does not have its
    /// response.
    pub(crate) fn observe(&mut self, call: &Call<'_>) -> bool {
        let Some(key) = call.key else { return true };
        self.keyed += 1;
        for (cache, saved) in &mut self.capacities {
            if cache.get(&key).is_some() {
                saved.call(call);
            } else {
                cache.insert(key, ());
            }
        }
        let next = self.index.len();
        let index = *self.index.entry(key).or_insert_with(|| u32::try_from(next).unwrap_or(u32::MAX)) as usize;
        let is_new = index == next;
        if !is_new {
            self.unlimited.call(call);
        }
        let Some(time) = call.time else {
            self.untimed += 1;
            self.stored.resize(self.index.len() * self.ttls.len(), 0);
            return is_new;
        };
        let now = u32::try_from(time / 1_000).unwrap_or(u32::MAX);
        if is_new {
            self.stored.resize(self.index.len() * self.ttls.len(), now);
        }
        let mut is_miss = is_new;
        let stored = &mut self.stored[index * self.ttls.len()..][..self.ttls.len()];
        for (i, (ttl, stored)) in self.ttls.iter().zip(stored).enumerate() {
            let is_hit = !is_new && u64::from(now.saturating_sub(*stored)) < ttl.as_secs();
            if is_hit {
                self.by_ttl[i].call(call);
            } else {
                *stored = now;
            }
            if self.above == Some(i) {
                is_miss = !is_hit;
            }
        }
        is_miss
    }

    pub(crate) fn finish(self) -> Lever {
        let mut lever = Lever::new("exact cache", Effect::SameResponses);
        if self.keyed == 0 {
            lever.finding = Finding::NotProvable(NO_REQUESTS.into());
            return lever;
        }
        let mut rows: Vec<Row> = Vec::new();
        if self.untimed < self.keyed {
            rows.extend(self.ttls.iter().zip(&self.by_ttl).map(|(ttl, saved)| {
                let setting = format!("ttl {}", options::time(*ttl));
                saved.row(setting)
            }));
        }
        if self.untimed == self.keyed {
            lever.notes.push(format!("times to live: not provable from this log ({NO_TIMES})"));
        } else if self.untimed > 0 {
            let calls = grouped(self.untimed);
            lever.notes.push(format!("With a time to live, {calls} calls of unknown time count as not saved."));
        }
        rows.push(self.unlimited.row("no expiry"));
        // A cache that can hold all distinct requests evicts nothing, so it saves as much as the unlimited cache.
        let evicting = self.capacities.iter().filter(|(cache, _)| cache.capacity() < self.index.len());
        for (cache, saved) in evicting {
            rows.push(saved.row(format!("no expiry, {} entries", grouped(cache.capacity() as u64))));
        }
        lever.notes.push("A time to live counts from the first request for which no response was stored.".into());
        lever.finding = Finding::Rows(rows);
        lever
    }
}
