//! Tests of the public interface in virtual time.

#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod address;
mod affinity;
mod chaos;
mod contract;
mod drops;
mod exhaustion;
mod failed_attempts;
mod from_env;
mod headers;
mod http;
mod observability;
mod pacing;
mod parking;
mod saturation;
mod snapshot;
mod stand_in;
mod streams;
mod support;
mod tiers;
mod token_limits;
mod vendor;
mod vendor_faults;
