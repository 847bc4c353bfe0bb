//! Tests of the cache around hand-made and simulated vendors.

#![expect(clippy::disallowed_methods, reason = "tests spawn callers")]

mod contract;
mod core;
mod entries;
mod flights;
mod upstream;
mod vendor;
