#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "at-rest")]
mod admin;
mod background;
mod build_error;
mod builder;
mod cache;
mod counts;
#[cfg(feature = "metrics")]
mod describe;
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
#[cfg(feature = "redis")]
mod open_redis;
mod open_store;
mod parameters;
#[cfg(feature = "at-rest")]
mod partition;
mod path;
mod policy;
#[cfg(feature = "redis")]
mod redis_options;
mod service;
mod stats;
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
mod store_config;
mod tasks;
mod telemetry;
mod url;
mod url_error;

pub use self::background::Background;
pub use self::build_error::BuildError;
pub use self::builder::CacheBuilder;
pub use self::cache::{Cache, Resolved};
#[cfg(feature = "metrics")]
pub use self::describe::{LOOKUP_SECONDS_BUCKETS, describe_metrics};
pub use self::key::Key;
pub use self::layer::CacheLayer;
pub use self::policy::{Directive, DirectivePolicy, Mismatch, Tag, Ttl, TtlRule, Verification};
#[cfg(feature = "redis")]
pub use self::redis_options::RedisOptions;
pub use self::service::Cached;
pub use self::stats::Stats;
pub use self::status::{CacheStatus, Miss, ShadowStatus, Stale};
pub use self::store::{EvictionPolicy, StoreError};
pub use self::url::StoreUrl;
pub use self::url_error::UrlError;
#[cfg(feature = "at-rest")]
pub use self::{
    admin::{Listing, MigrationReport, StoredEntry, migrate},
    partition::Partition,
    store::{Cursor, EncryptionKeys, KeyRing, Secret},
};
pub use llm_core;
#[cfg(feature = "redis")]
pub use llm_redis;
