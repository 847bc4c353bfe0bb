//! OpenAI's wire format and compatible ones, from the vendor's side. The text of a response is a pure function of the
//! request.
//!
//! The differences between compatible vendors are one table ([`Flavor`](crate::Flavor)).

mod codec;
mod dialect;
mod error;
mod hash;
mod headers;
mod stream;
mod text;
mod unary;

pub use crate::response::embedding;
pub use hash::response_hash;
pub use text::response_text;

pub(crate) use codec::of;
pub(crate) use hash::prompt_text;
pub(crate) use headers::{date, insert, retry_headers, value};
pub(crate) use text::{choice_hash, prose};
