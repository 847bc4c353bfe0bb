use std::collections::HashMap;

use llm_core::{Call, Operation, layer::Complete};

use crate::{
    Directive, Key, Miss,
    inner::{Found, Inner},
    key::{Frame, Keys},
};

/// The different items of a request, and where each stands in it.
pub(crate) struct Items<T> {
    pub(crate) parts: Vec<T>,
    pub(crate) keys: Vec<Keys>,
    /// For each place in the request, its item.
    pub(crate) places: Vec<usize>,
}

impl<T: Operation> Items<T> {
    pub(crate) fn new(cache: &Inner, call: &Call<T>, directive: &Directive, parts: Vec<T>) -> Self {
        let frame = Frame::of(&cache.namespace, call, directive);
        let mut items = Self { parts: Vec::new(), keys: Vec::new(), places: Vec::new() };
        let mut known = HashMap::new();
        for part in parts {
            let keys = cache.keys(&frame, &part);
            let at = *known.entry(keys.answer.clone()).or_insert(items.keys.len());
            if at == items.keys.len() {
                items.keys.push(keys);
                items.parts.push(part);
            }
            items.places.push(at);
        }
        items
    }

    /// Where each item first stands in the request.
    pub(crate) fn first_places(&self) -> Vec<usize> {
        let mut first = vec![0; self.keys.len()];
        self.places.iter().enumerate().rev().for_each(|(place, item)| first[*item] = place);
        first
    }

    /// What is stored of each, and why to ask for them if nothing is.
    pub(crate) async fn look(&self, cache: &Inner, directive: &Directive) -> (Vec<Found<Complete<T>>>, Miss) {
        if directive.no_cache {
            return (self.keys.iter().map(|_| Found::Nothing).collect(), Miss::NoCache);
        }
        let found = cache.look(&answers(&self.keys), directive).await;
        let now = cache.now();
        let mut whys = found.iter().map(|found| found.miss(now));
        // One reason if all have the same.
        let first = whys.next().unwrap_or(Miss::Unknown);
        let cold = if whys.all(|why| why == first) { first } else { Miss::Unknown };
        (found, cold)
    }
}

pub(super) fn answers(keys: &[Keys]) -> Vec<Key> {
    keys.iter().map(|keys| keys.answer.clone()).collect()
}
