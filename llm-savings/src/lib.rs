#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod analysis;
mod digest;
pub mod git;
mod lever;
mod options;
mod read;
mod record;
mod report;

pub use analysis::Analysis;
pub use options::Options;
pub use record::{Prompt, Record, Segment, SegmentKind};
pub use report::{Effect, Finding, Lever, Log, Report, Row};
