//! Layers of this family under the `async-openai` crate's client: nothing changes above, and calls are cached, limited
//! and counted below.
//!
//! `async-openai` hands its HTTP requests to any tower service (`Client::with_http_service`). [`ProviderService`] is one: it
//! answers chat completions (whole and streamed) and embeddings with a [`Provider`](llm_core::Provider), and passes
//! everything else on to the service below it.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use async_openai::{Client, config::OpenAIConfig, middleware::ReqwestService};
//! use llm_providers::{OpenAi, async_openai::ProviderLayer, llm_core::into_provider};
//! use tower::Layer;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Put your layers on it: a cache, a ledger, limits.
//! let provider = into_provider(OpenAi::new("sk-secret")?);
//! let http = ProviderLayer::new(provider).tenant("acme").layer(ReqwestService::default());
//! let client = Client::with_config(OpenAIConfig::new()).with_http_service(http);
//!
//! // Now `client.chat().create(..)`, `.create_stream(..)` and `client.embeddings().create(..)` come to the provider.
//! # let _ = client;
//! # Ok(())
//! # }
//! ```
//!
//! # How it decides
//!
//! - The path's end says what is asked: `/chat/completions` and `/embeddings` by `POST` come here.
//! - The provider's own key and address count; those that `async-openai` was given are used for what is passed on.
//! - Fields of a request without a name in [`ChatRequest`](llm_core::ChatRequest) pass through; so do unknown fields of
//!   responses that `async-openai` can read. It reads no response with a word that it does not know, so an unknown
//!   `service_tier` is left out, and `finish_reason` is null for an unknown end, whose word is `native_finish_reason`. A response's part that OpenAI's format cannot say (an image) is an error; seals and unknown fields
//!   of a text, which it has no place for, are left out.
//! - A stream that breaks off ends with an event that holds the error and without `[DONE]`. The usage comes as a last
//!   chunk if `stream_options.include_usage` asked for it.
//! - `created` is 0 where the vendor stated no time.
//!
//! `with_http_service` replaces `async-openai`'s own retries, so there are none here but those of the provider's layers.
//! Do not add its retry layer on top of ours: what failed for good would be asked again.
//!
//! # Errors
//!
//! OpenAI's: a status, a body `{"error": {message, type, param, code}}`, `retry-after` where the waiting time is known.
//! Of 5xx statuses `async-openai` shows the body as it is.

mod error;
mod fields;
mod future;
mod layer;
mod message;
mod readable;
mod request;
mod service;

pub use self::future::ResponseFuture;
pub use self::layer::ProviderLayer;
pub use self::service::ProviderService;
