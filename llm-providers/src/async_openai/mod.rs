//! Layers of this family below the client of the crate `async-openai`. The application's code does not change, and its
//! calls are cached, limited and booked.
//!
//! `async-openai` sends its HTTP requests through any tower service (`Client::with_http_service`). [`ProviderService`]
//! is such a service. It answers chat completions (complete and streamed) and embeddings with a
//! [`Provider`](llm_core::Provider), and sends all other requests to the service below it.
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
//! # Behaviour
//!
//! - The end of the path selects the operation: `POST` requests for `/chat/completions` and `/embeddings` are answered
//!   by the provider.
//! - The provider uses its own key and URL. The key and the URL of `async-openai` are used for requests that are sent
//!   to the service below.
//! - Fields of a request that [`ChatRequest`](llm_core::ChatRequest) does not have are sent to the vendor, and unknown
//!   fields of responses are returned if `async-openai` can read them. `async-openai` fails to parse a response with a
//!   word that it does not know. Therefore an unknown `service_tier` is left out, and `finish_reason` is null for an
//!   unknown reason, whose word is in `native_finish_reason`. A part of a response that OpenAI's format cannot express
//!   (an image) is an error. Signatures and unknown fields of a text are left out, because OpenAI's format has no field
//!   for them.
//! - A stream that breaks off ends with an event that holds the error and without `[DONE]`. A last chunk states the
//!   usage if the request set `stream_options.include_usage`.
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
