//! Clients of LLM vendors behind one `Provider` trait, with dated prices and a ledger of what calls cost and saved.
//!
//! # Overview
//!
//! - [`OpenAi`], [`Anthropic`], [`Gemini`]: chat, streamed chat, embeddings, token counts and lists of models, as far as
//!   the vendor has them. [`openai`] has the table of servers that speak its format: Azure, Ollama, vLLM, Mistral, Groq,
//!   DeepSeek, OpenRouter. All are one [`Client`] of a [`protocol::VendorProtocol`], a format without input or output; HTTP is behind
//!   a seam, [`transport`].
//! - [`Ledger`]: what each call cost, what it was worth, what it saved; per tenant, label, model and cause. [`prices`]
//!   holds what it counts with.
//! - [`retry`]: asking again, within a budget, for those who use one client and no key pool.
//! - `scripted` (feature): a provider for your own tests.
//!
//! It does not cache, choose keys or limit anything: layers of this family do. A client itself neither retries nor
//! waits. There are no batches, files, audio or images as answers yet, and no `/responses`.
//!
//! # Example
//!
//! Against a simulated vendor; leave the address out to ask OpenAI itself.
//!
//! ```
//! use llm_providers::{Ledger, OpenAi, llm_core::{Call, ChatRequest, into_provider}, prices};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), llm_core::Error> {
//! # let vendor = llm_testkit::Vendor::new().serve().await;
//! # let address = vendor.base_url();
//! let ledger = Ledger::new(prices::openai());
//! let provider = into_provider(
//!     tower::ServiceBuilder::new()
//!         .layer(ledger.requests())
//!         .layer(ledger.attempts())
//!         .service(OpenAi::new("sk-secret")?.base_url(&address)?),
//! );
//!
//! let question = ChatRequest::new("gpt-4o-mini").user("Name a test case for a login form.");
//! let reply = provider.chat(Call::new("acme", question)).await?;
//! println!("{} for {:?}", reply.output.text(), reply.receipt.cost());
//! println!("{}", ledger.snapshot());
//! # assert!(reply.receipt.cost().is_some());
//! # Ok(())
//! # }
//! ```
//!
//! # How it decides
//!
//! - A call is marked as sent right before its request is handed to the transport. What fails before costs nothing; so
//!   does what the vendor refuses. Of anything else without a usage the charge is unknown.
//! - The usage of a response is the largest that its vendor stated of each part. Without a prompt in it, or with a count
//!   that cannot be one, it is unknown; [`Accounting::unusable_usage`](llm_core::layer::Accounting::unusable_usage) names the count.
//! - A stream is whole if every choice told why it ended, and as many came as were asked for or the vendor's own end
//!   (`[DONE]`); otherwise it ends with an error. A streamed reply resolves at its first piece, so an error before that
//!   comes at once.
//! - What another vendor's answer left in a conversation (seals, citations, parts of its own kinds) is refused by name, or,
//!   where it only proves or annotates, left out with `approximate`.
//! - A call's deadline bounds connecting, waiting and every piece of the answer.
//! - Answers are read up to a bound: [`Client::max_body_bytes`], and for each event of a stream
//!   [`Client::max_event_bytes`].
//! - What a format cannot say is refused, naming the field. Fields without a name pass through in both directions.
//!
//! # Readiness and cloning
//!
//! Clients are always ready. Clones are cheap and share their connections; a ledger's share their books.
//!
//! # Errors
//!
//! [`llm_core::Error`], with the vendor's status, code, request id, waiting time and limits where it told them. The tables
//! are in the docs of the vendors' modules, as [`openai`]. No message holds a key or a URL.
//!
//! # Telemetry
//!
//! One span `llm.call` for each call to a vendor, with OpenTelemetry's `gen_ai.*` fields: operation, provider, models,
//! tokens, kind of error. It holds no prompt, no answer, no key and no tenant.
//!
//! # Feature flags
//!
//! | feature | default | what it does |
//! |---|---|---|
//! | `reqwest` | on | [`transport::Reqwest`], the HTTP client behind the seam |
//! | `rustls` | on | TLS for it; without it only plain HTTP works |
//! | `http2` | off | HTTP/2 for it, where the server offers it |
//! | `async-openai` | off | layers under the `async-openai` crate's client |
//! | `genai` | off | the `genai` crate's client as a provider |
//! | `scripted` | off | the `scripted` provider, for your own tests |

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod anthropic;
#[cfg(feature = "async-openai")]
pub mod async_openai;
mod client;
mod deadline;
pub mod gemini;
#[cfg(feature = "genai")]
pub mod genai;
pub mod ledger;
pub mod openai;
pub mod prices;
pub mod protocol;
pub mod retry;
mod runtime;
#[cfg(feature = "scripted")]
pub mod scripted;
mod telemetry;
pub mod transport;

pub use llm_core;
pub use secrecy::SecretString;

pub use self::anthropic::Anthropic;
pub use self::client::Client;
pub use self::gemini::Gemini;
pub use self::ledger::{
    Attempt, Attempts, AttemptsLayer, Balance, Charged, Ledger, Outcome, Requests, RequestsLayer, Row, Snapshot,
    Unconfirmed, Waste, WastedSpend,
};
pub use self::openai::OpenAi;
