#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
#[cfg(feature = "at-rest")]
mod admin;
mod background;
mod build_error;
mod builder;
mod cache;
mod entries;
mod failure;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[doc = include_str!("../docs/hit-rates.md")]
pub mod hit_rates {}
mod inner;
mod key;
mod keyed;
mod layer;
mod list;
mod observe;
#[cfg(feature = "at-rest")]
mod partition;
mod path;
mod policy;
mod service;
mod status;
#[cfg_attr(
    not(any(feature = "file", feature = "redis")),
    expect(dead_code, reason = "needed by stores outside the process")
)]
#[cfg_attr(
    all(feature = "at-rest", not(any(feature = "file", feature = "redis"))),
    expect(unused_imports, reason = "needed by stores outside the process")
)]
mod store;
mod tasks;

#[cfg(feature = "redis")]
pub use self::address::RedisOptions;
pub use self::address::{StoreUrl, UrlError};
pub use self::background::Background;
pub use self::build_error::BuildError;
pub use self::builder::CacheBuilder;
pub use self::cache::{Cache, Resolved};
pub use self::key::Key;
pub use self::layer::CacheLayer;
pub use self::observe::Stats;
#[cfg(feature = "metrics")]
pub use self::observe::{LOOKUP_SECONDS_BUCKETS, describe_metrics};
pub use self::policy::{Directive, DirectivePolicy, Mismatch, Tag, Ttl, TtlRule, Verification};
pub use self::service::Cached;
pub use self::status::{CacheStatus, Miss, ShadowStatus, Stale};
pub use self::store::{EvictionPolicy, StoreError};
#[cfg(feature = "at-rest")]
pub use self::{
    admin::{Listing, MigrationReport, StoredEntry, migrate},
    partition::Partition,
    store::{Cursor, EncryptionKeys, KeyRing, Secret},
};
pub use llm_core;
#[cfg(feature = "redis")]
pub use llm_redis;
