use std::sync::{Arc, PoisonError, RwLock};

use super::PriceTable;

/// The prices of now: a table that can be replaced while calls run.
///
/// Clones share it, so one replacement reaches the ledger, the limits, and every other holder of a clone.
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
    /// Prices that begin with `table`.
    pub fn new(table: PriceTable) -> Self {
        Self(Arc::new(RwLock::new(table)))
    }

    /// Returns the current table. It is a cheap clone, which later replacements do not change.
    pub fn current(&self) -> PriceTable {
        // A table is put in place whole, so a panic elsewhere leaves nothing half done.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts `table` in place of the table of now, and gives that one back.
    pub fn replace(&self, table: PriceTable) -> PriceTable {
        std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), table)
    }
}

impl From<PriceTable> for Prices {
    fn from(table: PriceTable) -> Self {
        Self::new(table)
    }
}
