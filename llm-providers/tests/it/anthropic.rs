//! Anthropic: what is sent, what is read, and the client between.

mod blocks;
mod fixtures;
mod history;
mod property;
mod recordings;
mod requests;
mod stream;
mod vendor;
