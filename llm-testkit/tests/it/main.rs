//! The simulated vendor through both of its faces, and the probes.

#![expect(clippy::disallowed_methods, reason = "tests spawn clients, and abort them")]

mod anthropic;
mod ask;
mod billing;
mod cassettes;
mod chat;
mod embeddings;
mod faces;
mod faults;
mod flavors;
mod formats;
mod gemini;
mod limits;
mod paths;
mod probes;
#[cfg(unix)]
mod redis;
mod refusals;
mod time;
mod traces;
