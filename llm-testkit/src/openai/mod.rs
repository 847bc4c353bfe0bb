//! OpenAI's wire format, from the vendor's side: what an answer says is a pure function of the question.

mod chat;
mod digest;
mod embeddings;
mod error;
mod headers;
mod question;
mod route;
mod schema;
mod stream;
mod text;

pub use digest::answer_hash;
pub use embeddings::embedding;
pub use text::answer_text;

pub(crate) use chat::Chat;
pub(crate) use digest::prompt_text;
pub(crate) use embeddings::Embed;
pub(crate) use error::{Refusal, error_body};
pub(crate) use headers::{date, limit_headers, refused_limits, retry_headers};
pub(crate) use route::{Endpoint, bearer, route};
