//! The `genai` crate's client as a provider: its twenty vendors behind this family's layers.
//!
//! For vendors that this crate has no client of its own for, and for applications that have a `genai::Client` already.
//! `genai` changes its types with each of its minor releases, and this feature follows: expect it to break more often than
//! the rest of this crate.
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
//! - The headers of a response that succeeds are not shown by `genai`: replies have no limits, and receipts no request id.
//!   A key pool sees a vendor's limits only when they are hit.
//! - What `genai` has no field for is refused before the call, as
//!   [`ErrorKind::Unsupported`](llm_core::ErrorKind::Unsupported) that names the field: `sampling.n`, `top_k`, the
//!   penalties, `logprobs`, `parallel_tool_calls`, names of speakers, the developer's role, unknown fields of parts. So is
//!   what the vendor's adapter in `genai` would drop without a word: unknown fields, seeds, the choice of tools; and
//!   reasoning of the conversation so far for OpenAI, or signed elsewhere, unless [`Genai::approximate`] leaves it out.
//! - A tool's arguments are read by `genai` and written again: white space and the order of keys may differ. Those of a
//!   stream come at its end, whole. Fields of a response without a name in `genai` are lost.
//! - Options that are set on the `genai` client itself (`with_chat_options`) decide responses and are in no cache key: leave
//!   them unset.
//! - `genai` asks a server on this machine (Ollama) for a model whose name it does not know.

mod error;
mod message;
mod provider;
mod request;
mod response;
mod stream;

pub use self::provider::Genai;
