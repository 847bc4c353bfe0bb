use std::collections::BTreeMap;

use llm_core::price::UnknownCost;

/// Numbers of unknown costs, by cause. Bounded, because causes hold names that callers and vendors choose.
#[derive(Clone, Debug, Default)]
pub(super) struct UnknownCosts {
    pub(super) causes: BTreeMap<UnknownCost, Counts>,
    /// Counts of all causes beyond the bound.
    pub(super) other: Counts,
}

/// Attempts whose cost is unknown, and responses whose cost or list price is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) attempts: u64,
    pub(super) responses: u64,
}

/// Largest number of causes of unknown costs that are counted separately.
const MAX_CAUSES: usize = 100;

impl UnknownCosts {
    /// Returns the counts of a cause, or of the rest if the bound is reached.
    pub(super) fn of(&mut self, cause: &UnknownCost) -> &mut Counts {
        if !self.causes.contains_key(cause) && self.causes.len() >= MAX_CAUSES {
            return &mut self.other;
        }
        self.causes.entry(cause.clone()).or_default()
    }
}
