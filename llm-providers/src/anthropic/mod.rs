//! Anthropic: the client, and its wire format.

mod client;
pub mod codec;
mod protocol;

pub use self::client::Anthropic;
pub use self::protocol::AnthropicProtocol;
