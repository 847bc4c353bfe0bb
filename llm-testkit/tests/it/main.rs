//! Tests of the simulated vendor over both of its transports, and of the probes.

#![expect(clippy::disallowed_methods, reason = "tests spawn clients, and abort them")]

mod anthropic;
mod billing;
mod cassettes;
mod chat;
mod client;
mod embeddings;
mod faults;
mod flavors;
mod formats;
mod gemini;
mod latency;
mod limits;
mod paths;
mod probes;
mod prompt_cache;
#[cfg(unix)]
mod redis;
mod refusals;
mod responder;
mod traces;
mod transports;
