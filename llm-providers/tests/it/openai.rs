//! Tests of OpenAI's codec and client.

mod client;
mod errors;
mod http;
mod properties;
mod requests;
mod responses;
mod stream;
mod stream_end;
