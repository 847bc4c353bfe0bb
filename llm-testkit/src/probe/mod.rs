//! Probes for tower services: does a layer keep to the contract, and how often is something polled?

mod count_polls;
mod counts;
mod future;
mod service;

pub use count_polls::CountPolls;
pub use counts::{ProbeHandle, Snapshot};
pub use future::ProbeFuture;
pub use service::Probe;
