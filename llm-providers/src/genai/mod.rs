//! Provider that sends calls through the client of the crate `genai`, so that the layers of this family can be used
//! with its twenty vendors.
//!
//! Use it for vendors for which this crate has no client, or if the application already has a `genai::Client`. `genai`
//! changes its types with each minor release, so this feature has breaking changes more often than the rest of this
//! crate.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use llm_providers::{Ledger, genai::Genai, llm_core::{into_provider, into_service}, prices};
//!
//! let ledger = Ledger::new(prices::openai());
//! let client = Genai::new(genai::Client::new()?);
//! let provider = into_provider(
//!     tower::ServiceBuilder::new()
//!         .layer(ledger.requests())
//!         .layer(ledger.attempts())
//!         .service(into_service(Arc::new(client))),
//! );
//! # Ok::<_, genai::Error>(())
//! ```
//!
//! # Limitations
//!
//! - `genai` does not return the headers of a successful response. Therefore replies have no limits, and receipts have
//!   no request id. A key pool learns a vendor's limits only from refused calls.
//! - Fields that `genai` does not have are refused before the call, as
//!   [`ErrorKind::Unsupported`](llm_core::ErrorKind::Unsupported) that names the field: `sampling.n`, `top_k`, the
//!   penalties, `logprobs`, `parallel_tool_calls`, names of speakers, the developer's role, unknown fields of parts.
//!   Fields that the vendor's adapter in `genai` would drop silently (unknown fields, seeds, tool choices) are refused
//!   too. So is reasoning in the conversation for OpenAI, and reasoning that was not signed through the same adapter,
//!   unless [`Genai::approximate`] is set.
//! - `genai` parses the arguments of tool calls and writes them again, so white space and the order of keys may differ.
//!   Tool calls of a stream arrive complete at its end. Fields of a response that `genai` does not know are lost.
//! - Options that are set on the `genai` client itself (`with_chat_options`) change responses and are not part of a
//!   cache key, so do not set them.
//! - `genai` sends calls for a model whose name it does not know to a server on this machine (Ollama).

mod error;
mod message;
mod provider;
mod request;
mod response;
mod stream;

pub use self::provider::Genai;
