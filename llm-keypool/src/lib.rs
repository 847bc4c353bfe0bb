#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attempt_loop;
mod build_error;
mod builder;
#[cfg(feature = "metrics")]
mod describe;
mod event;
mod group;
mod lease;
mod member;
mod outcome;
mod pool;
mod random;
mod request;
mod service;
mod settings;
mod snapshot;
mod state;
mod status;
mod telemetry;
mod time;
mod window;

pub use self::build_error::BuildError;
pub use self::builder::{KeyPoolBuilder, fingerprint};
#[cfg(feature = "metrics")]
pub use self::describe::describe_metrics;
pub use self::event::{Event, Parked, Reason, Sink};
pub use self::group::{
    Group, GroupLimit, input_tokens_per_minute, output_tokens_per_minute, requests_per_minute, tokens_per_minute,
};
pub use self::lease::Lease;
pub use self::member::Member;
pub use self::outcome::{Outcome, Verdict};
pub use self::pool::KeyPool;
pub use self::request::LeaseRequest;
pub use self::snapshot::Snapshot;
pub use self::status::{GroupStatus, MemberStatus, ParkedStatus, PoolStatus, QuotaStatus};
pub use llm_core;
