//! Requests, responses and their timelines, independent of formats.

mod chat;
mod choice;
mod embeddings;
mod request;
mod schema;
mod timeline;

pub(crate) use chat::ChatResponse;
pub(crate) use choice::{Choice, Content, Finish, arguments};
pub(crate) use embeddings::EmbeddingResponse;
pub use embeddings::embedding;
pub(crate) use timeline::Timeline;
