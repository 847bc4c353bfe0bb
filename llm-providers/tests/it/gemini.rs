//! Gemini's codec and its client.

mod errors;
mod fixtures;
mod history;
mod partial_args;
mod property;
mod recordings;
mod requests;
mod stream;
mod vendor;
