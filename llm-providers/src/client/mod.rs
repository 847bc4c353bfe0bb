//! Client for the format of any vendor.

mod base_url;
mod body;
mod exchange;
mod listing;
mod peek;
mod service;
mod setup;
mod stream;

pub use self::setup::Client;
pub(crate) use self::setup::secret;
