//! Entries of a cache: rules for storing and serving them.
//!
//! [`storing`] decides which responses are stored and which are invalidated. [`lookup`] decides how one call may use an
//! entry that was found. Both apply the policies of the cache, of which the store itself knows nothing.

mod lookup;
mod storing;

pub(crate) use self::{
    lookup::{Claimed, Found, Stored},
    storing::{Admission, Entries, StoreOptions},
};
