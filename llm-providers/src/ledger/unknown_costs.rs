use std::collections::BTreeMap;

use llm_core::price::UnknownCost;

/// Counts of unknown costs, by cause. Their number is bounded, because causes contain names that callers and vendors
/// choose.
#[derive(Clone, Debug, Default)]
pub(super) struct UnknownCosts {
    pub(super) causes: BTreeMap<UnknownCost, Counts>,
    /// Counts of all causes beyond the bound.
    pub(super) other: Counts,
}

/// Number of attempts whose cost is unknown, and of responses whose cost or list price is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) attempts: u64,
    pub(super) responses: u64,
}

/// Largest number of causes that are counted separately.
const MAX_CAUSES: usize = 100;

impl UnknownCosts {
    /// Returns the counts of a cause, or the common counts if the bound is reached.
    pub(super) fn of(&mut self, cause: &UnknownCost) -> &mut Counts {
        if !self.causes.contains_key(cause) && self.causes.len() >= MAX_CAUSES {
            return &mut self.other;
        }
        self.causes.entry(cause.clone()).or_default()
    }
}
