//! Layers of this family below the client of the crate `async-openai`: the application's code stays as it is, and its
//! calls are cached, limited and counted.
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
//! - The end of the path selects the operation: `POST` requests for `/chat/completions` and `/embeddings` are answered
//!   by the provider.
//! - The provider uses its own key and URL. Those of `async-openai` are used for requests that are passed on.
//! - Fields of a request that [`ChatRequest`](llm_core::ChatRequest) does not have pass through, and so do unknown
//!   fields of responses that `async-openai` can read. It refuses a response with a word that it does not know, so an
//!   unknown `service_tier` is left out, and `finish_reason` is null for an unknown end, whose word is
//!   `native_finish_reason`. A part of a response that OpenAI's format cannot express (an image) is an error;
//!   signatures and unknown fields of a text, for which it has no field, are left out.
//! - A stream that breaks off ends with an event that holds the error and without `[DONE]`. The usage is in a last
//!   chunk if `stream_options.include_usage` asked for it.
//! - `created` is 0 if the vendor stated no time.
//!
//! `with_http_service` replaces `async-openai`'s own retries, so only the provider's layers retry. Do not add the retry
//! layer of `async-openai` on top, because it would repeat calls that cannot succeed.
//!
//! # Errors
//!
//! Errors have OpenAI's form: a status, a body `{"error": {message, type, param, code}}`, and `retry-after` if the
//! waiting time is known. For 5xx statuses `async-openai` returns the body unparsed.

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
