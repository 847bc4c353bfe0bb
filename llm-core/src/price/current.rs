use std::sync::{Arc, PoisonError, RwLock};

use super::PriceTable;

/// Current price table, which can be replaced while calls run.
///
/// Clones share the table, so one replacement reaches the ledger, the limits, and every other holder of a clone.
///
/// ```
/// use llm_core::price::{PriceTable, Prices};
///
/// let prices = Prices::new(PriceTable::new("2026-01-01"));
/// let held_by_a_ledger = prices.clone();
/// prices.replace(PriceTable::new("2026-02-01"));
/// assert_eq!(held_by_a_ledger.current().as_of(), "2026-02-01");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Prices(Arc<RwLock<PriceTable>>);

impl Prices {
    /// Creates prices whose first table is `table`.
    pub fn new(table: PriceTable) -> Self {
        Self(Arc::new(RwLock::new(table)))
    }

    /// Returns the current table: a cheap clone, which later replacements do not change.
    pub fn current(&self) -> PriceTable {
        // A poisoned lock is safe to use, because a table is replaced as a whole.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the current table by `table`, and returns the previous one.
    pub fn replace(&self, table: PriceTable) -> PriceTable {
        std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), table)
    }
}

impl From<PriceTable> for Prices {
    fn from(table: PriceTable) -> Self {
        Self::new(table)
    }
}
