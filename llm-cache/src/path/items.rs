//! Division of a request into items.
//!
//! Equal items of a request are one item with several positions, so that each is looked up, sent and stored once. A request
//! that cannot be divided, or has one item, is its own only item; its body is not copied.

use std::collections::HashMap;

use llm_core::{Call, Operation};
use smallvec::smallvec;

use super::List;
use crate::{
    Directive, Key,
    inner::Inner,
    key::{CallKeys, KeyPrefix},
};

/// The different items of a request, and their positions in it.
pub(crate) struct Items<T> {
    /// The items; none where the request is its own one item.
    parts: Vec<T>,
    pub(crate) keys: List<CallKeys>,
    /// Item of each position in the request.
    pub(crate) positions: List<usize>,
}

impl<T: Operation> Items<T> {
    /// A request that is not divided.
    pub(crate) fn one(keys: CallKeys) -> Self {
        Self { parts: Vec::new(), keys: smallvec![keys], positions: smallvec![0] }
    }

    /// The items of a request that has these parts.
    pub(crate) fn divided(cache: &Inner, call: &Call<T>, directive: &Directive, parts: Vec<T>) -> Self {
        let prefix = KeyPrefix::of(&cache.namespace, call, directive);
        let mut items = Self { parts: Vec::new(), keys: List::new(), positions: List::new() };
        let mut known = HashMap::new();
        for part in parts {
            let keys = cache.keys(&prefix, &part);
            let at = *known.entry(keys.entry.clone()).or_insert(items.keys.len());
            if at == items.keys.len() {
                items.keys.push(keys);
                items.parts.push(part);
            }
            items.positions.push(at);
        }
        items
    }

    /// Some of the items, as those of a request of its own.
    pub(super) fn only(&self, at: &[usize]) -> Self {
        let keys = at.iter().map(|at| self.keys[*at].clone()).collect();
        Self { parts: self.parts(at.iter().copied()).unwrap_or_default(), keys, positions: (0..at.len()).collect() }
    }

    /// True if the request is its own one item.
    pub(crate) fn is_one(&self) -> bool {
        self.parts.is_empty()
    }

    /// The item at an index; `call` is the whole request's.
    pub(super) fn part<'a>(&'a self, call: &'a Call<T>, at: usize) -> &'a T {
        self.parts.get(at).unwrap_or(&call.body)
    }

    /// Some of the items; `None` if the request is its own one item.
    pub(super) fn parts(&self, at: impl Iterator<Item = usize>) -> Option<Vec<T>> {
        (!self.is_one()).then(|| at.map(|at| self.parts[at].clone()).collect())
    }

    /// The keys of the items' entries.
    pub(super) fn entries(&self) -> List<&Key> {
        self.keys.iter().map(|keys| &keys.entry).collect()
    }

    /// Returns the first position of each item.
    pub(super) fn first_positions(&self) -> Vec<usize> {
        let mut first = vec![0; self.keys.len()];
        self.positions.iter().enumerate().rev().for_each(|(slot, item)| first[*item] = slot);
        first
    }
}
