//! Where entries lie: in memory, or further away.

mod entry;
mod memory;
mod weight;

use std::{future::Future, pin::Pin, sync::Arc};

pub(crate) use self::{
    entry::{Entry, Life, Source},
    memory::Memory,
};
use crate::{Key, Tag, generations::Moment, key::Lent};

/// A place for entries. It knows their keys, sizes and times, not what they are worth: that is the cache's to judge.
///
/// A store that fails is a store that has nothing: the error is for the books.
pub(crate) trait Store: Send + Sync + 'static {
    /// What is at hand, without waiting.
    fn peek(&self, key: Lent<'_>) -> Option<Arc<Entry>>;

    /// Whether there may be more than what is at hand.
    fn is_far(&self) -> bool {
        false
    }

    /// What lies further away, in the order of the keys.
    fn fetch<'a>(&'a self, keys: &'a [Key]) -> Far<'a, Vec<Option<Arc<Entry>>>> {
        at_once(vec![None; keys.len()])
    }

    /// Stores an entry; tells whether it did. It is at hand when this returns, and further away soon.
    fn put(&self, key: Key, entry: Arc<Entry>) -> bool;

    /// Removes an entry that turned out to be of no use: at once where it is at hand, soon where it is not.
    fn discard(&self, key: Lent<'_>);

    /// Removes an entry everywhere.
    fn remove<'a>(&'a self, key: &'a Key) -> Far<'a, ()>;

    /// Remembers for those who open the store later that a tag (or, for none, everything) was invalidated.
    fn invalidate(&self, _tag: Option<&Tag>, _at: Moment) -> Far<'_, ()> {
        at_once(())
    }

    /// Removes all entries of a tenant. It may look at every entry.
    fn forget<'a>(&'a self, tenant: &'a str) -> Far<'a, ()>;

    /// Removes everything.
    fn clear(&self) -> Far<'_, ()>;

    /// Entries and the bytes they count for, in what is at hand.
    fn size(&self) -> (u64, u64);

    /// Entries that had to make room so far, in what is at hand.
    fn evictions(&self) -> u64 {
        0
    }

    /// Waits until all that was put is where it shall be.
    fn close(&self) -> Far<'_, ()> {
        at_once(())
    }
}

/// What comes of a place further away.
pub(crate) type Far<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

fn at_once<'a, T: Send + 'a>(value: T) -> Far<'a, T> {
    Box::pin(std::future::ready(Ok(value)))
}

/// Which entries go first when the memory is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// The least recently used. What was just stored stays, which regenerated and slowly changing work needs.
    #[default]
    Lru,
    /// The least frequently used of late (W-TinyLFU). It withstands scans, and keeps new keys out of a warm full cache
    /// until they have been asked for several times.
    TinyLfu,
}

/// Why a store could not do what it was asked to.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the cache's {tier} store: {reason}")]
pub struct StoreError {
    tier: &'static str,
    reason: Arc<str>,
}
