//! The interface of both tables.

use std::sync::Arc;

use crate::{Key, key::BorrowedKey, store::Entry};

/// Table of entries that a policy keeps below a bound in bytes.
pub(super) trait Table: Send + Sync {
    /// Returns the entry of a key, and counts that as a use of it.
    fn get(&self, key: BorrowedKey<'_>) -> Option<Arc<Entry>>;

    /// Puts an entry, which must not be larger than the table, if `may` allows it beside the entry that it would replace.
    /// Nothing changes this key meanwhile. Evicts what no longer fits before it returns. Returns whether it put the entry.
    fn put_if(&self, key: Key, entry: Arc<Entry>, may: &dyn Fn(Option<&Entry>) -> bool) -> bool;

    /// Removes the entry of a key if `may` allows it.
    fn remove_if(&self, key: BorrowedKey<'_>, may: &dyn Fn(&Entry) -> bool);

    /// Removes all entries that `may` allows. It visits every entry.
    fn remove_all_if(&self, may: &dyn Fn(&Key, &Entry) -> bool);

    /// Removes all entries.
    fn clear(&self);

    /// Returns how many entries it has evicted.
    fn evictions(&self) -> u64;

    /// Returns the number of entries and their bytes.
    fn size(&self) -> (u64, u64);
}
