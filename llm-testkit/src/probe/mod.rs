//! Probes that check a tower layer's readiness contract, and count polls.

mod count_polls;
mod counts;
mod future;
mod service;

pub use count_polls::CountPolls;
pub use counts::{ProbeHandle, Snapshot};
pub use future::ProbeFuture;
pub use service::Probe;
