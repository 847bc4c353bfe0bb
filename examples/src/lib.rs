//! What the example binaries are made of: workloads, the stack they run through, and what is printed.
//!
//! A workload is a [`workload::Source`] of requests, each with the organisation that
//! asks, the text asked about and, for a replayed history, the wall-clock time of asking:
//!
//! - [`registry`]: "first generation", the public functions of twelve crates this workspace is built from;
//! - [`history`]: "regenerate what changed", the items of every file that this repository's commits added or modified;
//! - [`trace`]: a public trace of such regenerations, with its texts;
//! - [`demo`]: a few illustrative stories.
//!
//! [`simulation`] is the stack, in front of a simulated vendor on loopback; [`run`] sends a workload through it; [`table`]
//! prints what a run cost and saved, with [`percentile`] for its latencies.

pub mod args;
pub mod demo;
pub mod error;
pub mod history;
pub mod percentile;
pub mod progress;
pub mod registry;
pub mod run;
pub mod scan;
pub mod simulation;
pub mod table;
pub mod trace;
pub mod tree;
pub mod workload;

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
