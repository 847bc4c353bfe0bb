//! Tests of the cache around hand-written and simulated vendors.

#![expect(clippy::disallowed_methods, reason = "tests spawn callers")]

mod background;
mod cache_fallbacks;
mod cache_status;
mod cache_status_header;
mod cacheable;
mod chaos;
#[cfg(feature = "admin")]
mod cli;
mod conformance;
mod conforms;
mod contract;
#[cfg(feature = "file")]
mod crash;
#[cfg(feature = "file")]
mod damaged_file;
mod directive_without_cache;
mod directives;
mod eviction_policy;
#[cfg(feature = "file")]
mod file;
mod get_or_call;
mod invalidation;
mod isolation;
mod item_outcomes;
mod items;
mod list_price;
mod long_requests;
mod max_response_bytes;
#[cfg(feature = "metrics")]
mod metrics;
mod negative_cache;
mod observability;
#[cfg(all(feature = "redis", unix))]
mod redis;
mod replay;
mod robustness;
mod routing;
mod runtimes;
mod shadow;
mod shared_deadline;
mod shared_scope;
mod single_flight;
mod single_flight_edges;
mod stale_if_error;
mod stats;
mod tags;
mod tenants;
mod ttl;
mod upstream;
mod variants;
mod vendor_errors;
