//! Stores of entries: the local tier in memory, and remote tiers.
//!
//! | URL | store | survives the process | shared by processes |
//! |---|---|---|---|
//! | `memory:` | [`Memory`] | no | no |
//! | `file:` | `FileStore`, or `Tiered` with memory in front of it | yes | no: only one process can open it |
//! | `redis:` | `RedisStore`, always with memory in front of it | yes | yes, under leases |
//!
//! All stores hold typed responses in memory and JSON text elsewhere. The cache decides how the entries that a store
//! returns may be used. A store itself evicts only entries for which it has no space, or that no call can use.

#[cfg(feature = "at-rest")]
mod at_rest;
mod entry;
mod error;
mod eviction_policy;
#[cfg(feature = "file")]
mod file;
mod lease;
#[cfg(feature = "at-rest")]
mod listing;
#[cfg(any(feature = "file", feature = "redis"))]
mod local_tier;
mod memory;
mod memory_size;
#[cfg(feature = "redis")]
mod redis;
mod store_trait;
#[cfg(feature = "file")]
mod tiered;

#[cfg(feature = "fuzzing")]
pub(crate) use self::at_rest::{fuzz_body, fuzz_frame};
#[cfg(any(feature = "file", feature = "redis"))]
pub(crate) use self::local_tier::LocalTier;
#[cfg(all(feature = "redis", feature = "fuzzing"))]
pub(crate) use self::redis::read_value;
#[cfg(feature = "at-rest")]
pub(crate) use self::{
    at_rest::{AtRest, Name, PARTITION_BYTES, Record},
    listing::{Listed, Page},
};
#[cfg(feature = "at-rest")]
pub use self::{
    at_rest::{EncryptionKeys, KeyRing, Secret},
    listing::Cursor,
};
pub(crate) use self::{
    entry::{Entry, Expiry, Provenance},
    lease::{Claim, Claimant, Lease, MaxWait, Outcome},
    memory::Memory,
    store_trait::{Store, StoreFuture, StoreStats},
};
pub use self::{error::StoreError, eviction_policy::EvictionPolicy};
#[cfg(feature = "file")]
pub(crate) use self::{
    file::{FileSettings, FileStore},
    tiered::Tiered,
};
#[cfg(feature = "redis")]
pub(crate) use self::{
    lease::IsUsable,
    redis::{RedisSettings, RedisStore},
};
