//! Addresses of stores, and the opening of a store by its URL and its other settings.
//!
//! | file | what it holds |
//! |---|---|
//! | `url.rs`, `url_error.rs` | [`StoreUrl`], and the errors of its text |
//! | `parameters.rs` | the table of all parameters, which a URL and [`RedisOptions`] both set |
//! | `redis_options.rs` | [`RedisOptions`] |
//! | `config.rs` | the settings that a URL does not have: secret, keys, clock |
//! | `open.rs`, `open_redis.rs` | the store that a URL and these settings lead to |
//!
//! [`RedisOptions`]: crate::RedisOptions

mod config;
mod open;
#[cfg(feature = "redis")]
mod open_redis;
mod parameters;
#[cfg(feature = "redis")]
mod redis_options;
mod url;
mod url_error;

#[cfg(feature = "redis")]
pub use self::redis_options::RedisOptions;
pub(crate) use self::{config::StoreConfig, open::open, url::MIN_BYTES};
pub use self::{url::StoreUrl, url_error::UrlError};
