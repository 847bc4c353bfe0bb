//! Servers that speak OpenAI's format: requests, responses and missing features of each.

mod cross_vendor;
mod dialects;
mod errors;
mod listing;
mod recorded_requests;
mod recorded_responses;
mod recordings;
