//! The vocabulary of the `llm-*` crates: what a call is, what an answer is, and what stands between them.
//!
//! # Overview
//!
//! An application holds an `Arc<dyn `[`Provider`]`>` and sends it [`Call`]s: a question with its tenant, labels, units,
//! priority and deadline. Below stand layers (cache, limits, batches, key pool) that know a question only as an
//! [`Operation`] and an answer only as an [`Output`], so each serves chat, streamed chat, embeddings and an
//! application's own [`Task`]s alike. At the bottom a client asks a vendor. Each [`Reply`] carries a [`Receipt`]: who
//! answered, what it took, what it cost, what it saved.
//!
//! It does no I/O, starts no task, reads no clock but through [`Clock`], and knows no vendor. If you want answers, begin
//! with `llm-providers`; this crate is for those who write layers, providers or operations.
//!
//! # Example
//!
//! A provider of one's own, under any of the layers:
//!
//! ```
//! use std::sync::Arc;
//! use llm_core::{
//!     Call, ChatRequest, ChatResponse, ChatStream, Choice, EmbedRequest, Embeddings, Error, ErrorKind,
//!     FinishReason, Output, Part, Provider, Receipt, Reply, into_provider, into_service,
//! };
//!
//! struct Echo;
//!
//! #[async_trait::async_trait]
//! impl Provider for Echo {
//!     async fn chat(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
//!         call.body.validate()?;
//!         let parts = call.body.messages[0].parts.clone();
//!         let answer = ChatResponse::new("1", call.body.model, vec![Choice::new(0, parts, FinishReason::Stop)]);
//!         Ok(Reply::new(answer, Receipt::default()))
//!     }
//!     async fn chat_stream(&self, call: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
//!         self.chat(call).await?.try_map(|answer| Ok(ChatStream::replay(Arc::new(answer), None)))
//!     }
//!     async fn embed(&self, _: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
//!         Err(Error::new(ErrorKind::Unsupported, "echo has no embeddings"))
//!     }
//! }
//!
//! # tokio_test::block_on(async {
//! let stack = tower::ServiceBuilder::new()
//!     .timeout(std::time::Duration::from_secs(30))
//!     .service(into_service(Arc::new(Echo)));
//! let provider = into_provider(stack);
//! let reply = provider.chat(Call::new("acme", ChatRequest::new("m").user("hello"))).await?;
//! assert_eq!(reply.output.text(), "hello");
//! # Ok::<_, Error>(()) }).unwrap();
//! ```
//!
//! # How it decides
//!
//! - What a question *is*: [`Operation::fingerprint`] writes it as canonical bytes with a
//!   [`Fingerprinter`](layer::Fingerprinter). Every field counts but those that say how to send.
//! - How an answer *ends*: exactly once, and every layer hears of it through [`Output::on_end`], innermost first.
//! - Who *pays*: what is known not to have been sent costs nothing; what was sent and never told its usage counts at its
//!   upper bound ([`Charge`], [`SentFlag`](layer::SentFlag)); of many answers that come of one purchase one counts as
//!   bought ([`CostShare`](layer::CostShare)).
//!
//! # Readiness and cloning
//!
//! Layers of this family are always ready and wait inside their futures: a hit must hold no permit, and what a call
//! needs is known from the call alone. [`oneshot`](layer::oneshot) waits for a clone of the inner service and calls that
//! same one.
//!
//! Tower's own layers may stand between ours. Three things to know: `timeout` and `concurrency_limit` end at a stream's
//! *head*; `tower::limit::RateLimit` is not `Clone` and so cannot stand here; `buffer` and boxed services serve one
//! request type only.
//!
//! # Errors
//!
//! One [`Error`] for all crates, cheap to clone, with the facts to act on: kind, retry-after, scope of a limit, what it
//! may have cost.
//!
//! # Feature flags
//!
//! | feature | default | what it does |
//! |---|---|---|
//! | `tower` | on | gives tower's `Elapsed`, `Overloaded` and `Closed` their kinds when they pass as boxed errors |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod broadcast;
mod call;
pub mod chat;
mod clock;
mod embed;
mod error;
mod extensions;
mod extra;
mod fingerprint;
mod future;
pub mod layer;
mod limits;
mod llm_service;
mod money;
mod operation;
mod output;
pub mod price;
mod provider;
mod receipt;
mod reply;
mod task;
mod usage;

pub use self::call::{Call, Labels, Priority, Tenant};
pub use self::chat::{
    ChatEvent, ChatRequest, ChatResponse, ChatStream, Choice, FinishReason, Message, Part, Role, Tool, ToolCall,
    ToolResult,
};
pub use self::clock::{Clock, ManualClock, SystemClock};
pub use self::embed::{EmbedInput, EmbedRequest, Embeddings};
pub use self::error::{BoxError, Charge, Error, ErrorKind};
pub use self::extra::Extra;
pub use self::money::Usd;
pub use self::operation::{Estimate, Operation};
pub use self::output::Output;
pub use self::provider::{Provider, into_provider, into_service};
pub use self::receipt::{Amount, Cause, Origin, Receipt, Savings};
pub use self::reply::Reply;
pub use self::task::{Task, Tasks};
pub use self::usage::Usage;
