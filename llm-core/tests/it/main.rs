//! Tests of the crate through its public interface.

#![expect(clippy::disallowed_methods, reason = "tests spawn callers")]

mod affinity;
mod arbitrary;
mod broadcast;
mod embed;
mod estimate;
mod fingerprint;
mod is_cacheable;
mod merged;
mod provider_prices;
mod shared_deadline;
mod stack;
mod stream;
mod with_model;
