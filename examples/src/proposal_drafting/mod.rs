//! An application that searches tenders and drafts proposals, for customers of three plans, through a month.
//!
//! [`stack`] builds the layers, [`App`] is what the application does with them, [`background`] runs heavy work, [`alerts`]
//! posts alerts, and [`reports`] sends a month through each step.

pub mod alerts;
mod app;
pub mod background;
mod month;
pub mod stack;

pub use app::App;
pub use month::{Size, reports};
