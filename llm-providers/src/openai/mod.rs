//! OpenAI, and every server that speaks its format.
//!
//! [`OpenAi`] is the client; [`codec`] is its wire format without input or output.

mod base_url;
mod body;
mod client;
pub mod codec;
mod exchange;
mod service;
mod stream;

pub use self::client::OpenAi;
