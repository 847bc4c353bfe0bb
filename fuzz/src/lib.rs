//! Bytes of any shape against what reads vendors' answers.
//!
//! Each of the [`TARGETS`] takes bytes and panics if what they should hold does not: that nothing panics, that memory
//! stays within a [bound](held), that how an answer is cut on its way changes nothing, that no error shows the key.
//! The harnesses of cargo-fuzz are in `fuzz_targets/`; `src/main.rs` drives the same functions on stable Rust.

pub mod answer;
pub mod canned;
pub mod held;
pub mod mutate;
pub mod random;
pub mod refusal;
pub mod secret;
pub mod sse;
pub mod stream;
mod target;

pub use self::target::{TARGETS, Target, run};
