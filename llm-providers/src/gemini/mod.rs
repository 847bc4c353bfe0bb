//! Gemini, in its own format: `generateContent` and its neighbours.
//!
//! [`Gemini`] is the client; [`codec`] is its wire format without input or output.

mod client;
pub mod codec;
mod protocol;

pub use self::client::Gemini;
pub use self::protocol::GeminiProtocol;
