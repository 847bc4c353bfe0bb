//! Tests of the clients, the codecs and the ledger.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod anthropic;
mod azure;
mod blank_instructions;
mod codec;
mod compat;
mod complete;
mod conformance;
mod context_too_long;
mod damaged_text;
mod decoding_work;
mod embedding_index;
mod empty_arguments;
mod error_classification;
mod error_in_success;
mod finish_reasons;
mod from_url;
mod gemini;
#[cfg(feature = "genai")]
mod genai;
mod ledger;
mod listing;
mod openai;
mod outside_tokio;
mod pinned_without_pool;
mod prices;
mod recordings;
mod request_fields;
mod retry;
mod scripted;
mod secrets;
mod serve;
#[cfg(feature = "scripted")]
mod shared_deadline;
mod stream_hold;
mod streaming;
#[cfg(all(feature = "rustls", feature = "http2"))]
mod tls;
mod tool_call_fragments;
mod transport;
mod unreachable;
mod usage;
mod waiting_times;
