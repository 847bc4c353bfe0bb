//! Parts of the example binaries: workloads, the stack that they run through, and the printed tables.
//!
//! A workload is a [`workload::Source`] of requests, each with its organisation, its text and, for a replayed history,
//! its wall-clock time:
//!
//! - [`registry`]: "first generation", the public functions of twelve crates from which this workspace is built;
//! - [`history`]: "regenerate what changed", the items of every file that this repository's commits added or modified,
//!   or those of any other repository's;
//! - [`prompts`]: one's own log;
//! - [`trace`]: a public trace of such regenerations, with its texts;
//! - [`demo`]: a few illustrative stories.
//!
//! The small programs (`cache`, `limiter`, `ledger`, `own_operation`, `raw_client`, `embedding_job`, `full_stack`, `budgets`, `vendors`
//! and, with feature `metrics`, `metrics`) use nothing of this library: each shows one part in at most 40 lines.
//!
//! With features, two services of applications: `axum_service`, which gets a cache in three lines, and
//! `under_async_openai`, whose client gets a whole stack below it.
//!
//! Applications run in [`virtual_time`] and print a [`report`], for which [`steps`] checks the accounts: [`test_generation`],
//! [`photo_scoring`], [`proposal_drafting`], and [`fleet`], which simulates many organisations.
//!
//! [`stack`] builds the stack, and [`simulation`] puts it in front of a simulated vendor on loopback; [`comparison`] says
//! what the cache and [`packers`] save; [`run`] sends a workload through it; [`table`]
//! prints what a run cost and saved, with [`percentile`] for its latencies.

#![doc(test(attr(deny(warnings))))]

pub mod args;
#[cfg(feature = "axum")]
pub mod axum_service;
pub mod comparison;
pub mod demo;
pub mod error;
pub mod fleet;
pub mod history;
pub mod lines;
pub mod packers;
pub mod percentile;
pub mod photo_scoring;
pub mod progress;
pub mod prompts;
pub mod proposal_drafting;
pub mod random;
pub mod registry;
pub mod report;
pub mod run;
pub mod simulation;
pub mod stack;
pub mod steps;
pub mod table;
pub mod test_generation;
pub mod trace;
pub mod tree;
#[cfg(feature = "async-openai")]
pub mod under_async_openai;
pub mod vendor_prices;
pub mod virtual_time;
pub mod workload;

/// Tests that the code on the migration pages compiles without a warning, and runs.
#[cfg(all(doctest, feature = "async-openai"))]
#[doc = include_str!("../../docs/migration/async-openai.md")]
#[doc = include_str!("../../docs/migration/reqwest.md")]
#[doc = include_str!("../../docs/migration/redis.md")]
#[doc = include_str!("../../docs/migration/keys.md")]
pub struct Migration;

/// Tests that the programs of the tour run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/tour.md")]
pub struct Tour;

/// Tests that the recipe for Prometheus compiles and runs.
#[cfg(all(doctest, feature = "metrics"))]
#[doc = include_str!("../../docs/metrics.md")]
pub struct Metrics;
