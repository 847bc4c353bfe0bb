//! The highest levels of calendar windows that this process has seen, from which accounts are restored that the server lost.

use std::{collections::HashMap, sync::Arc};

use super::{
    layout::{Stored, Tag, window_value},
    question::RuleNeed,
};
use crate::window::Window;

/// Levels by the name of the accounts' hash.
#[derive(Debug, Default)]
pub(super) struct Marks(HashMap<Box<str>, TagMarks>);

#[derive(Debug, Default)]
struct TagMarks {
    /// Time at which the server began the hash, in microseconds since 1970; 0 if it is not known.
    born: u64,
    /// Windows by field, with their numbers.
    windows: HashMap<Arc<str>, (Window, u64)>,
}

/// Number of hashes, beyond which all levels are forgotten.
const HASHES: usize = 10_000;

impl Marks {
    /// Returns the time at which the server began a hash, as far as this process has seen it; 0 if it has not.
    pub(super) fn born(&self, tag: &Tag) -> u64 {
        self.0.get(tag.accounts.as_str()).map_or(0, |marks| marks.born)
    }

    /// Notes the levels that the server replied with.
    pub(super) fn note<'a>(&mut self, tag: &Tag, born: u64, levels: impl Iterator<Item = (&'a RuleNeed, &'a Stored)>) {
        let windows = levels.filter_map(|(need, stored)| match (stored, need.limit.quota().windows()) {
            (Stored::Window(window), Some(calendar)) => Some((need, window, calendar)),
            _ => None,
        });
        if self.0.len() >= HASHES && !self.0.contains_key(tag.accounts.as_str()) {
            self.0.clear();
        }
        let marks = match self.0.get_mut(tag.accounts.as_str()) {
            Some(marks) => marks,
            None => self.0.entry(tag.accounts.as_str().into()).or_default(),
        };
        marks.born = born;
        for (need, window, calendar) in windows {
            let rank = |window: &Window| (window.until, window.total());
            match marks.windows.get_mut(&need.field) {
                Some((known, _)) if rank(known) >= rank(window) => {}
                Some((known, _)) if known.until == window.until => *known = window.clone(),
                _ => {
                    let ordinal = calendar.bounds(window.until.saturating_sub(1)).ordinal;
                    marks.windows.insert(Arc::clone(&need.field), (window.clone(), ordinal));
                }
            }
        }
    }

    /// Returns fields and windows of accounts that the server has lost. All that was reserved in them counts as spent.
    pub(super) fn lost(&mut self, tag: &Tag) -> Vec<(Arc<str>, String)> {
        let Some(marks) = self.0.get_mut(tag.accounts.as_str()) else { return Vec::new() };
        marks.born = 0;
        let value = |(window, ordinal): &(Window, u64)| {
            let mut window = window.clone();
            window.lose_reservations();
            window_value(&window, *ordinal)
        };
        marks.windows.iter().map(|(field, known)| (Arc::clone(field), value(known))).collect()
    }

    /// Forgets the levels of a hash, because an operator has changed it.
    pub(super) fn forget(&mut self, tag: &Tag) {
        self.0.remove(tag.accounts.as_str());
    }
}
