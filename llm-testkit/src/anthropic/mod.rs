//! Anthropic's messages, from the vendor's side.
//!
//! A request gets the same text as the equivalent request in OpenAI's format; see [`as_openai`].

mod codec;
mod error;
mod request;
mod stream;
mod unary;

pub use request::as_openai;

pub(crate) use codec::Anthropic;
