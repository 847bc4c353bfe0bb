//! The highest levels of calendar windows that this process has seen, from which accounts are restored that the server lost.

use std::{collections::HashMap, sync::Arc};

use super::{layout::Tag, question::RuleNeed};
use crate::{Limit, counter::State, window::Window};

/// Levels by the name of the accounts' hash.
#[derive(Debug, Default)]
pub(super) struct Marks(HashMap<Box<str>, TagMarks>);

#[derive(Debug, Default)]
struct TagMarks {
    /// Time at which the server began the hash, in microseconds since 1970; 0 if it is not known.
    born: u64,
    windows: HashMap<Arc<str>, (Window, Arc<Limit>)>,
}

/// Number of hashes, beyond which all levels are forgotten.
const HASHES: usize = 10_000;

impl Marks {
    /// Returns the time at which the server began a hash, as far as this process has seen it; 0 if it has not.
    pub(super) fn born(&self, tag: &Tag) -> u64 {
        self.0.get(tag.accounts.as_str()).map_or(0, |marks| marks.born)
    }

    /// Notes the levels that the server replied with.
    pub(super) fn note(&mut self, tag: &Tag, born: u64, needs: &[RuleNeed], rules: &[(bool, State)]) {
        let name = tag.accounts.as_str();
        if self.0.len() >= HASHES && !self.0.contains_key(name) {
            self.0.clear();
        }
        let marks = match self.0.get_mut(name) {
            Some(marks) => marks,
            None => self.0.entry(name.into()).or_default(),
        };
        marks.born = born;
        for (need, (_, state)) in needs.iter().zip(rules) {
            let State::Window(window) = state else { continue };
            let rank = |window: &Window| (window.until, window.total());
            if marks.windows.get(&need.field).is_none_or(|(known, _)| rank(known) < rank(window)) {
                marks.windows.insert(Arc::clone(&need.field), (window.clone(), Arc::clone(&need.rule.limit)));
            }
        }
    }

    /// Returns fields, windows and limits of accounts that the server has lost.
    pub(super) fn lost(&mut self, tag: &Tag) -> Vec<(Arc<str>, Window, Arc<Limit>)> {
        let Some(marks) = self.0.get_mut(tag.accounts.as_str()) else { return Vec::new() };
        marks.born = 0;
        let windows = marks.windows.iter();
        windows.map(|(field, (window, limit))| (Arc::clone(field), window.clone(), Arc::clone(limit))).collect()
    }

    /// Forgets the levels of a hash, because an operator has changed it.
    pub(super) fn forget(&mut self, tag: &Tag) {
        self.0.remove(tag.accounts.as_str());
    }
}
