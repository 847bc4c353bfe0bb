//! What is said, in no vendor's words: questions, answers and their pace.

mod chat;
mod choice;
mod embed;
mod pace;
mod question;
mod schema;

pub(crate) use chat::Answer;
pub(crate) use choice::{Choice, Content, Finish, arguments};
pub(crate) use embed::Embed;
pub use embed::embedding;
pub(crate) use pace::Pace;
