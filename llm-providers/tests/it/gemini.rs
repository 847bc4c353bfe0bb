//! Tests of Gemini's codec and client.

mod client;
mod errors;
mod history;
mod partial_args;
mod properties;
mod recordings;
mod requests;
mod responses;
mod stream;
