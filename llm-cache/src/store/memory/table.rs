//! Interface of the tables of both eviction policies.

use std::sync::Arc;

use crate::{Key, key::BorrowedKey, store::Entry};

/// Table of entries, which keeps itself below a bound in bytes by an eviction policy.
pub(super) trait Table: Send + Sync {
    /// Returns the entry of a key, and counts this as a use.
    fn get(&self, key: BorrowedKey<'_>) -> Option<Arc<Entry>>;

    /// Adds an entry if `may` returns `true` for the entry that would be replaced (`None` if there is none). No other
    /// change of the key happens in between. The entry must not be larger than the table. If there is no space, evicts
    /// other entries before it returns. Returns `true` if it added the entry.
    fn put_if(&self, key: Key, entry: Arc<Entry>, may: &dyn Fn(Option<&Entry>) -> bool) -> bool;

    /// Removes the entry of a key if `may` returns `true` for it.
    fn remove_if(&self, key: BorrowedKey<'_>, may: &dyn Fn(&Entry) -> bool);

    /// Removes all entries for which `may` returns `true`. The method visits every entry.
    fn remove_all_if(&self, may: &dyn Fn(&Key, &Entry) -> bool);

    /// Removes all entries.
    fn clear(&self);

    /// Returns the number of entries that the table has evicted so far.
    fn evictions(&self) -> u64;

    /// Returns the number of entries and their total size in bytes.
    fn size(&self) -> (u64, u64);
}
