//! Anthropic: the client, and its wire format.

mod client;
pub mod codec;
mod wire;

pub use self::client::Anthropic;
pub use self::wire::AnthropicWire;
