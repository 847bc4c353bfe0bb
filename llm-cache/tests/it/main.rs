//! Tests of the cache around hand-made and simulated vendors.

#![expect(clippy::disallowed_methods, reason = "tests spawn callers")]

mod background;
mod bounds;
mod chaos;
mod conformance;
mod contract;
mod core;
mod directives;
mod divided;
mod edges;
#[cfg(feature = "file")]
mod file;
mod flights;
mod isolation;
mod items;
mod kept;
#[cfg(feature = "file")]
mod killed;
mod lifetimes;
#[cfg(feature = "metrics")]
mod metrics;
mod misuse;
mod policy;
#[cfg(feature = "admin")]
mod program;
#[cfg(all(feature = "redis", unix))]
mod redis;
mod sharing;
mod tags;
mod telling;
mod traces;
mod upstream;
mod vendor;
mod vendors;
mod worth;
