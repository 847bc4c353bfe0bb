//! Tests of the cache around hand-made and simulated vendors.

#![expect(clippy::disallowed_methods, reason = "tests spawn callers")]

mod background;
mod bounds;
mod cache_status;
mod chaos;
mod conformance;
mod contract;
mod core;
mod counters;
#[cfg(feature = "file")]
mod damaged_file;
mod directives;
mod divided;
mod edges;
#[cfg(feature = "file")]
mod file;
mod flights;
mod invalidation;
mod isolation;
mod items;
mod kept;
#[cfg(feature = "file")]
mod killed;
mod lifetimes;
mod long_requests;
#[cfg(feature = "metrics")]
mod metrics;
mod misuse;
mod policy;
#[cfg(feature = "admin")]
mod program;
#[cfg(all(feature = "redis", unix))]
mod redis;
mod routing;
mod runtimes;
mod sharing;
mod tags;
mod telling;
mod traces;
mod upstream;
mod vendor;
mod vendors;
mod worth;
