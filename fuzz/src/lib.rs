//! Fuzz targets for all code that reads vendors' responses.
//!
//! Each of the [`TARGETS`] takes bytes and panics if a property fails: nothing panics, memory stays within a
//! [bound](held), the pieces in which a response arrives change nothing, and no error shows the key.
//! The harnesses of cargo-fuzz are in `fuzz_targets/`; `src/main.rs` drives the same functions on stable Rust.

pub mod canned;
pub mod held;
pub mod mutate;
pub mod random;
pub mod refusal;
pub mod response;
pub mod secret;
pub mod sse;
pub mod stream;
mod target;

pub use self::target::{TARGETS, Target, run};
