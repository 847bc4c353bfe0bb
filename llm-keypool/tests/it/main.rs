//! Tests of the public interface, in virtual time.

#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod exhaustion;
mod parking;
mod saturation;
mod support;
mod vendor;
