//! Tests of the public interface, in virtual time.

#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod affinity;
mod chaos;
mod contract;
mod drops;
mod exhaustion;
mod failed_attempts;
mod headers;
mod http;
mod observability;
mod parking;
mod saturation;
mod snapshot;
mod stand_in;
mod streams;
mod support;
mod token_limits;
mod vendor;
