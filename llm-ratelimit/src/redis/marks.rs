//! Highest levels of calendar windows that this process has seen. Accounts that the server has lost are restored from
//! them.

use std::{collections::HashMap, sync::Arc};

use super::{layout::Tag, script_request::RuleNeed};
use crate::{Limit, counter::State, window::Window};

/// Highest levels of calendar windows, by the name of the hash that holds their accounts.
#[derive(Debug, Default)]
pub(super) struct Marks(HashMap<Box<str>, TagMarks>);

#[derive(Debug, Default)]
struct TagMarks {
    /// Time at which the server created the hash, in microseconds since 1970; 0 if it is not known.
    born: u64,
    /// Lock held by the call that reports the lost levels to the server.
    reporting: Arc<tokio::sync::Mutex<()>>,
    windows: HashMap<Arc<str>, (Window, Arc<Limit>)>,
}

/// Number of hashes at which the levels of all hashes are forgotten.
const HASHES: usize = 10_000;

impl Marks {
    /// Returns the time at which the server created a hash, in microseconds since 1970; 0 if this process does not know
    /// it.
    pub(super) fn born(&self, tag: &Tag) -> u64 {
        self.0.get(tag.accounts.as_str()).map_or(0, |marks| marks.born)
    }

    /// Returns the lock that a call must hold while it reports the lost levels of a hash.
    pub(super) fn reporting(&mut self, tag: &Tag) -> Arc<tokio::sync::Mutex<()>> {
        self.0.get(tag.accounts.as_str()).map(|marks| Arc::clone(&marks.reporting)).unwrap_or_default()
    }

    /// Records the levels in a reply of the server. Once the creation time of a hash is known, a later reply does not
    /// change it until the lost levels have been [reported](Self::reported).
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

    /// Returns the fields, windows and limits to restore if the server has lost a hash.
    pub(super) fn lost(&self, tag: &Tag) -> Vec<(Arc<str>, Window, Arc<Limit>)> {
        let windows = self.0.get(tag.accounts.as_str()).into_iter().flat_map(|marks| &marks.windows);
        windows.map(|(field, (window, limit))| (Arc::clone(field), window.clone(), Arc::clone(limit))).collect()
    }

    /// Records that all known levels of a lost hash have been reported to the server.
    pub(super) fn reported(&mut self, tag: &Tag) {
        if let Some(marks) = self.0.get_mut(tag.accounts.as_str()) {
            marks.born = 0;
        }
    }

    /// Forgets the levels of a hash after an operator has changed its accounts.
    pub(super) fn forget(&mut self, tag: &Tag) {
        self.0.remove(tag.accounts.as_str());
    }
}
