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
    /// Held by the one call that reports what the server has lost.
    reporting: Arc<tokio::sync::Mutex<()>>,
    windows: HashMap<Arc<str>, (Window, Arc<Limit>)>,
}

/// Number of hashes, beyond which all levels are forgotten.
const HASHES: usize = 10_000;

impl Marks {
    /// Returns the time at which the server began a hash, as far as this process has seen it; 0 if it has not.
    pub(super) fn born(&self, tag: &Tag) -> u64 {
        self.0.get(tag.accounts.as_str()).map_or(0, |marks| marks.born)
    }

    /// Returns the lock of the one call that reports what the server has lost of a hash.
    pub(super) fn reporting(&mut self, tag: &Tag) -> Arc<tokio::sync::Mutex<()>> {
        self.0.get(tag.accounts.as_str()).map(|marks| Arc::clone(&marks.reporting)).unwrap_or_default()
    }

    /// Notes the levels that the server replied with. A hash of which the process knows when it began is another one only
    /// after what is known of it has been [reported](Self::reported), whatever a reply says.
    pub(super) fn note(&mut self, tag: &Tag, born: u64, needs: &[RuleNeed], rules: &[(bool, State)]) {
        let name = tag.accounts.as_str();
        if self.0.len() >= HASHES && !self.0.contains_key(name) {
            self.0.clear();
        }
        let marks = match self.0.get_mut(name) {
            Some(marks) => marks,
            None => self.0.entry(name.into()).or_default(),
        };
        if marks.born == 0 {
            marks.born = born;
        }
        for (need, (_, state)) in needs.iter().zip(rules) {
            let State::Window(window) = state else { continue };
            let rank = |window: &Window| (window.until, window.total());
            if marks.windows.get(&need.field).is_none_or(|(known, _)| rank(known) < rank(window)) {
                marks.windows.insert(Arc::clone(&need.field), (window.clone(), Arc::clone(&need.rule.limit)));
            }
        }
    }

    /// Returns fields, windows and limits of accounts that the server has lost.
    pub(super) fn lost(&self, tag: &Tag) -> Vec<(Arc<str>, Window, Arc<Limit>)> {
        let windows = self.0.get(tag.accounts.as_str()).into_iter().flat_map(|marks| &marks.windows);
        windows.map(|(field, (window, limit))| (Arc::clone(field), window.clone(), Arc::clone(limit))).collect()
    }

    /// Notes that the server has all that is known of accounts it had lost.
    pub(super) fn reported(&mut self, tag: &Tag) {
        if let Some(marks) = self.0.get_mut(tag.accounts.as_str()) {
            marks.born = 0;
        }
    }

    /// Forgets the levels of a hash, because an operator has changed it.
    pub(super) fn forget(&mut self, tag: &Tag) {
        self.0.remove(tag.accounts.as_str());
    }
}
