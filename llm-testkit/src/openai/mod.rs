//! OpenAI's wire format and those compatible with it, from the vendor's side: what an answer says is a pure function of
//! the question.
//!
//! The differences between compatible vendors are one table ([`Flavor`](crate::Flavor)).

mod codec;
mod differences;
mod digest;
mod error;
mod headers;
mod stream;
mod text;
mod unary;

pub use crate::answer::embedding;
pub use digest::response_hash;
pub use text::response_text;

pub(crate) use codec::of;
pub(crate) use digest::prompt_text;
pub(crate) use headers::{date, insert, retry_headers, value};
pub(crate) use text::{choice_hash, prose};
