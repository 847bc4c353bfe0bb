//! Entries of a cache: what may be stored, and what may be served.
//!
//! [`storing`] decides what enters the store and what an invalidation bars. [`lookup`] decides what an entry that was
//! found is good for in one call. Both go by the policies of the cache; the store itself knows none of them.

mod lookup;
mod storing;

pub(crate) use self::{
    lookup::{Claimed, Found, Stored},
    storing::{Admission, Entries, StoreOptions},
};
