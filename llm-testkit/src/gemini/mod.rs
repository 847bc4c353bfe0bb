//! Gemini's `generateContent` and its kin, from the vendor's side.
//!
//! A request is answered as its equal in OpenAI's format would be, see [`as_openai`].

mod codec;
mod embed;
mod error;
mod request;
mod stream;
mod unary;

pub use request::as_openai;

pub(crate) use codec::Gemini;
