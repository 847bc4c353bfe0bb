#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod batcher;
mod deliver;
#[cfg(feature = "metrics")]
mod describe;
mod factors;
mod groups;
mod layer;
mod run;
mod service;
mod settings;
mod shared_batch;
mod stats;
mod telemetry;
mod window;

pub use self::batcher::Batcher;
#[cfg(feature = "metrics")]
pub use self::describe::describe_metrics;
pub use self::layer::BatchLayer;
pub use self::service::Batch;
pub use self::stats::Stats;
pub use llm_core;
