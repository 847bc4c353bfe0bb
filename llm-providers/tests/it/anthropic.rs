//! Tests of Anthropic's format: encoding, decoding and the client.

mod blocks;
mod client;
mod history;
mod properties;
mod recordings;
mod requests;
mod responses;
mod stream;
