//! Redis plumbing for the llm crate family: one connection, its breaker, its scripts, and its way to stand an outage.
//!
//! **Status: not built yet; this crate holds its contract.** It exports nothing and has no dependency.
//!
//! # What it will be
//!
//! The part that every layer needs as soon as its state is shared by several processes, under their feature `redis`:
//!
//! - One lazily opened, multiplexed connection from a URL: a single server, TLS, or a Cluster; Redis 7 or compatible.
//!   Time-outs, a bounded number of commands in flight, few retries.
//! - A breaker with a single probe, so that an outage costs one attempt, not one time-out per call.
//! - Scripts by hash, reloaded when the server forgot them, idempotent by a reservation's id: a time-out on this side
//!   does not mean that a script did not run there.
//! - Key names with a prefix, a version and a hash tag, so that all keys of one script live in one Cluster slot.
//! - Server time with an offset for tests; wake-ups by message that survive reconnects, and that nobody relies on
//!   alone, since messages can be lost.
//! - Health, events, and a close that drains. Secrets in URLs appear in no output.
//!
//! # What it will not be
//!
//! - No general Redis client: no type of the client crate below is in a public signature.
//! - No decision: what an outage means is the layer's to say. A cache lets calls pass, a budget refuses, a rate limit
//!   falls back to its share; each is a setting there, and each is counted.
//! - No lock service and no queue; leases and journals belong to the layers that need them.
//! - No dependency on a layer crate.
