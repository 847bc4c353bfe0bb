//! Tests of servers that speak OpenAI's format: their requests, responses and missing features.

mod cross_vendor;
mod dialects;
mod errors;
mod listing;
mod recorded_requests;
mod recorded_responses;
mod recordings;
