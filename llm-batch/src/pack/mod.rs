//! Packing of several prompts with the same frame into one request.
//!
//! `layer` and `service` pass calls to the engine that also gathers micro-batches, and `deliver` sends the gathered
//! calls. `form` writes several prompts as one and reads the response, `schema` nests their schema, and `prompt` is the
//! operation by which `call_merged` divides the accounting. `sizes` decides how many prompts a request may hold.
//!
//! For each call, `packer` computes the key of its frame. A call without a key is sent unchanged. Other calls wait in
//! the group of their frame. `deliver` writes the packed request, sends it together with the lone requests of the
//! check, and gives each caller its item's response. An item without a response gets an error of the request itself, so
//! that the engine sends it again in a half, with other ids and in another order.

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
