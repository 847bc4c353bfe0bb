//! Application that scores photos of listings for customers of three plans, also during a spike of ten times the usual
//! uploads.
//!
//! [`stack`] builds the layers, [`uploads`] draws what customers upload, and `run` sends it through each step.

mod run;
pub mod stack;
pub mod uploads;

pub use run::report;
