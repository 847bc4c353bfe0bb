//! Packing: several prompts with one frame in one request.
//!
//! `layer` and `service` bring calls into the engine that gathers micro-batches, too; `deliver` sends what it gathered. `form` writes
//! several prompts as one and reads the response, `schema` nests their schema, and `prompt` is the operation by which `call_merged`
//! divides the accounting. `sizes` decides how many prompts a request may hold.
//!
//! The way of a call: `packer` finds its frame, or passes it. It waits in the group of its frame. `deliver` writes the form, sends it
//! beside the lone requests of the check, and gives each caller its item's response. Items without one are errors of the request
//! itself, so that the engine sends them again in halves, by a new form with other ids in another order.

mod deliver;
mod form;
mod layer;
mod packer;
mod prompt;
mod schema;
mod service;
mod sizes;
mod stats;
mod telemetry;

pub use self::deliver::PackShare;
pub use self::layer::PackLayer;
pub use self::packer::{ChatPacker, Packer};
pub use self::service::Pack;
pub use self::sizes::{Check, PackSize};
pub use self::stats::PackStats;
