//! Provider for the client of the crate `genai`: its twenty vendors below the layers of this family.
//!
//! It is for vendors that this crate has no client for, and for applications that already have a `genai::Client`.
//! `genai` changes its types with each minor release, and this feature follows. Expect breaking changes more often than
//! in the rest of this crate.
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
//! # What it cannot do
//!
//! - `genai` does not return the headers of a successful response: replies have no limits, and receipts no request id.
//!   A key pool sees a vendor's limits only when they are hit.
//! - Fields that `genai` does not have are refused before the call, as
//!   [`ErrorKind::Unsupported`](llm_core::ErrorKind::Unsupported) that names the field: `sampling.n`, `top_k`, the
//!   penalties, `logprobs`, `parallel_tool_calls`, names of speakers, the developer's role, unknown fields of parts. So
//!   are fields that the vendor's adapter in `genai` would drop silently (unknown fields, seeds, the choice of tools),
//!   and reasoning of the conversation so far for OpenAI, or signed elsewhere, unless [`Genai::approximate`] leaves it
//!   out.
//! - `genai` parses the arguments of tool calls and writes them again, so white space and the order of keys may differ.
//!   Those of a stream come at its end, whole. Fields of a response that `genai` does not know are lost.
//! - Options that are set on the `genai` client itself (`with_chat_options`) change responses and are not part of a
//!   cache key: leave them unset.
//! - `genai` asks a server on this machine (Ollama) for a model whose name it does not know.

mod error;
mod message;
mod provider;
mod request;
mod response;
mod stream;

pub use self::provider::Genai;
