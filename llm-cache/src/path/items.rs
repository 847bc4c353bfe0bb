use std::collections::HashMap;

use llm_core::{Call, Error, Operation, layer::Complete};

use super::lookup::Found;
use crate::{
    Directive, Key, Miss,
    inner::Inner,
    key::{CallKeys, KeyPrefix},
};

/// The different items of a request, and their places in it.
pub(crate) struct Items<T> {
    /// The items; none where the request is its own one item.
    parts: Vec<T>,
    pub(crate) keys: Vec<CallKeys>,
    /// For each place in the request, its item.
    pub(crate) positions: Vec<usize>,
}

impl<T: Operation> Items<T> {
    /// A request that is not divided.
    pub(crate) fn one(keys: CallKeys) -> Self {
        Self { parts: Vec::new(), keys: vec![keys], positions: vec![0] }
    }

    /// The items of a request that has these parts.
    pub(crate) fn divided(cache: &Inner, call: &Call<T>, directive: &Directive, parts: Vec<T>) -> Self {
        let prefix = KeyPrefix::of(&cache.namespace, call, directive);
        let mut items = Self { parts: Vec::new(), keys: Vec::new(), positions: Vec::new() };
        let mut known = HashMap::new();
        for part in parts {
            let keys = cache.keys(&prefix, &part);
            let at = *known.entry(keys.answer.clone()).or_insert(items.keys.len());
            if at == items.keys.len() {
                items.keys.push(keys);
                items.parts.push(part);
            }
            items.positions.push(at);
        }
        items
    }

    /// True if the request is its own one item.
    pub(crate) fn is_one(&self) -> bool {
        self.parts.is_empty()
    }

    /// The item at an index; `call` is the whole request's.
    pub(super) fn part<'a>(&'a self, call: &'a Call<T>, at: usize) -> &'a T {
        self.parts.get(at).unwrap_or(&call.body)
    }

    /// The place in the request where each item stands first.
    pub(super) fn first_positions(&self) -> Vec<usize> {
        let mut first = vec![0; self.keys.len()];
        self.positions.iter().enumerate().rev().for_each(|(position, item)| first[*item] = position);
        first
    }

    /// The keys of the items' entries.
    pub(super) fn answers(&self) -> Vec<Key> {
        self.keys.iter().map(|keys| keys.answer.clone()).collect()
    }

    /// The error with which the vendor refused the request a short time ago. Divided requests are not remembered.
    pub(super) fn negative(&self, cache: &Inner, directive: &Directive) -> Option<Error> {
        match &self.keys[..] {
            [keys] if self.is_one() && !directive.no_cache => cache.negative_error(keys),
            _ => None,
        }
    }

    /// The reason for a call, if no item is served.
    pub(super) fn miss(&self, cache: &Inner, directive: &Directive, found: &[Found<Complete<T>>]) -> Miss {
        if directive.no_cache {
            return Miss::NoCache;
        }
        let now = cache.now();
        let mut whys = found.iter().map(|found| found.miss(now));
        // One reason if all have the same.
        let first = whys.next().unwrap_or(Miss::Unknown);
        if whys.all(|why| why == first) { first } else { Miss::Unknown }
    }
}
