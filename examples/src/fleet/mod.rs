//! Simulation of a fleet that serves many organisations, in virtual time.
//!
//! A [`Model`] states when organisations send requests and which of these repeat; [`arrivals`] draws the requests of a
//! month or of a busy hour from it.
//! [`stack`] builds the crates' own layers in front of a simulated vendor, [`drive`] sends the requests through them, and
//! [`answers`] makes the tables.

pub mod answers;
pub mod arrivals;
pub mod drive;
mod model;
pub mod stack;
mod traces;

pub use model::{Client, Model};
