//! Application that searches tenders and drafts proposals, for customers of three plans, for a month.
//!
//! [`stack`] builds the layers, [`App`] uses them, [`background`] runs heavy work, [`alerts`] posts alerts, and
//! [`reports`] sends a month through each step.

pub mod alerts;
mod app;
pub mod background;
mod month;
pub mod stack;

pub use app::App;
pub use month::{Size, reports};
