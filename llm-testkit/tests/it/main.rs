//! The simulated vendor through both of its faces, and the probes.

#![expect(clippy::disallowed_methods, reason = "tests spawn clients, and abort them")]

mod ask;
mod billing;
mod chat;
mod embeddings;
mod faces;
mod faults;
mod probes;
mod refusals;
mod time;
