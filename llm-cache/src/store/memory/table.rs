//! Interface of the tables of both eviction policies.

use std::sync::Arc;

use crate::{Key, key::BorrowedKey, store::Entry};

/// Table of entries, whose eviction policy keeps it below a bound in bytes.
pub(super) trait Table: Send + Sync {
    /// Returns the entry of a key, and counts a use of it.
    fn get(&self, key: BorrowedKey<'_>) -> Option<Arc<Entry>>;

    /// Puts an entry if `may` allows it, given the entry that it would replace. The key does not change meanwhile. The
    /// entry must not be larger than the table. Evicts other entries before it returns if there is no space. Returns
    /// true if it put the entry.
    fn put_if(&self, key: Key, entry: Arc<Entry>, may: &dyn Fn(Option<&Entry>) -> bool) -> bool;

    /// Removes the entry of a key if `may` allows it.
    fn remove_if(&self, key: BorrowedKey<'_>, may: &dyn Fn(&Entry) -> bool);

    /// Removes all entries that `may` allows. It visits every entry.
    fn remove_all_if(&self, may: &dyn Fn(&Key, &Entry) -> bool);

    /// Removes all entries.
    fn clear(&self);

    /// Returns the number of entries that it has evicted.
    fn evictions(&self) -> u64;

    /// Returns the number of entries and their bytes.
    fn size(&self) -> (u64, u64);
}
