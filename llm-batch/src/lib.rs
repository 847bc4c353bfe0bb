#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod batcher;
#[cfg(feature = "metrics")]
mod describe;
mod factors;
mod gather;
mod layer;
pub mod pack;
mod service;
mod stats;

pub use self::batcher::Batcher;
#[cfg(feature = "metrics")]
pub use self::describe::describe_metrics;
pub use self::layer::BatchLayer;
pub use self::service::Batch;
pub use self::stats::Stats;
pub use llm_core;
