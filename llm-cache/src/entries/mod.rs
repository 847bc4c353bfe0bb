//! Entries of a cache: rules for storing and serving them.
//!
//! [`storing`] decides which responses are stored and which are invalidated. [`lookup`] decides how one call may use an
//! entry that was found. Both apply the policies of the cache, which the store itself does not know.

mod lookup;
mod storing;

pub(crate) use self::{
    lookup::{Claimed, Found, Stored},
    storing::{Admission, Entries, StoreOptions},
};
