//! Tests of the cache around hand-made and simulated vendors.

#![expect(clippy::disallowed_methods, reason = "tests spawn callers")]

mod background;
mod bounds;
mod chaos;
mod contract;
mod core;
mod directives;
mod edges;
mod entries;
mod flights;
mod invalidation;
mod isolation;
mod items;
mod kept;
mod telling;
mod upstream;
mod vendor;
mod vendors;
