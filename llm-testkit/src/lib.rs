//! A simulated LLM vendor, real Redis servers, and probes for tower services.
//!
//! # Overview
//!
//! Tests of LLM clients need a vendor that costs nothing, responds deterministically, fails on demand and records its
//! charges. [`Vendor`] simulates one. It serves the formats of OpenAI, of compatible vendors ([`Flavor`]), of Anthropic
//! and of Gemini: chat with and without streaming, token counts, embeddings and models. Each format has its own paths,
//! and any other path is a 404, so that a test finds a wrong base URL.
//!
//! Two transports share one state: [`Vendor::serve`] listens on loopback, and [`Vendor::transport`] is a tower service in
//! this process for tests with paused time. The modules [`tokens`] and [`openai`] define token counts and texts.
//!
//! # Example
//!
//! ```
//! use http_body_util::BodyExt;
//! use llm_testkit::{Fault, RetryForm, Rule, Vendor};
//! use std::time::Duration;
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let vendor = Vendor::builder().price("", 150_000_000, 75_000_000, 600_000_000).build();
//! vendor.script(Rule::new(Fault::rate_limited(Duration::from_secs(2), RetryForm::Seconds)).once());
//!
//! let body = serde_json::json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
//! let request = || {
//!     let builder = http::Request::post("/v1/chat/completions").header("authorization", "Bearer any");
//!     builder.body(bytes::Bytes::from(body.to_string()))
//! };
//! let refused = vendor.transport().oneshot(request()?).await?;
//! assert_eq!(refused.headers()["retry-after"], "2");
//!
//! let response = vendor.transport().oneshot(request()?).await?.into_body().collect().await?.to_bytes();
//! let response: serde_json::Value = serde_json::from_slice(&response)?;
//! assert_eq!(response["choices"][0]["message"]["content"].as_str(), vendor.response_text(&body).as_deref());
//! assert_eq!(vendor.calls(), 2);
//! assert_eq!(vendor.bills().len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Behaviour
//!
//! A vendor is a state machine whose callers pass the time. [`Vendor::decide`] turns a request into a [`Plan`] of
//! frames with times, and a transport sends the frames at these times. The text of a response follows from the request
//! alone, so that a test can recognise it. Equal conversations in different formats get the same text
//! ([`anthropic::as_openai`], [`gemini::as_openai`]). The request id and the latency follow from the vendor's seed and
//! the number of the call.
//!
//! Every generated response is billed, even if a fault corrupts it. A call that the client cancels is billed as vendors
//! do: in full if the response is not streamed, and otherwise for the prompt and the tokens generated until then.
//! Refusals and the replacements of a response by a fault cost nothing.
//!
//! A vendor enforces [`Limit`]s per key and per organisation, and a number of requests per client's address, with a log
//! of admitted calls. It checks the limit of the address first. It checks the other limits after the key and the form
//! of the request, and before it applies a fault. Headers state the time until a limit is reset as each vendor does:
//! OpenAI, Groq and Anthropic as if the limit was refilled continuously, Azure until its window ends, Mistral not at
//! all. A call that a limit of its key or an organisation refuses counts in none of these limits, but in the limit of
//! its address.
//!
//! Each organisation may have a prompt cache ([`VendorBuilder::prompt_cache`]). Usage and bills state the cached tokens of a
//! prompt, and limits of input tokens do not count them.
//!
//! # Cloning and readiness
//!
//! [`Transport`] is always ready. Clones of a [`Vendor`] and of a [`Transport`] share one state. [`probe::Probe`] checks that
//! a layer honours readiness, and [`probe::CountPolls`] counts polls.
//!
//! # Observability
//!
//! [`Traces`] records the spans and events that a test's own thread emits, whatever other tests of the program do.
//!
//! # Redis
//!
//! On Unix, the module `redis` spawns real servers on free ports and kills them on drop: plain, with a password, TLS or
//! little memory, a replica, a Cluster of three nodes. It needs a `redis-server`, which `cargo xtask test` provides.
//!
//! # Errors
//!
//! [`Fault`] lists the failures that a test can inject, and a [`Rule`] selects the calls. In process, a connection that the
//! vendor closes is [`ConnectionClosed`].
//!
//! # What it is not
//!
//! It is not a model: its texts are random words, or those of a function ([`VendorBuilder::respond_with`]), and it accepts and ignores `logprobs` and most sampling parameters. It is
//! not a tokenizer: [`tokens`] defines its counts. It enforces configured limits only ([`Limit`]), and other refusals are
//! [`Rule`]s. It has no batches, files, explicit caches or Responses API, calls one tool at most, and serves no TLS.
//!
//! # Feature flags
//!
//! None.

pub mod anthropic;
mod billing;
mod builder;
mod conversation;
mod fault;
mod flavor;
pub mod gemini;
mod latency;
mod limits;
pub mod openai;
mod plan;
mod planned_response;
mod prng;
pub mod probe;
mod prompt_cache;
mod protocol;
#[cfg(unix)]
pub mod redis;
mod refusal;
mod response;
mod rules;
mod settings;
mod state;
pub mod tokens;
mod traces;
mod transport;
mod vendor;

pub use billing::{Bill, CallKind};
pub use builder::VendorBuilder;
pub use fault::{Fault, RefusalKind, RetryForm};
pub use flavor::{Flavor, Format};
pub use latency::{Distribution, Latency};
pub use limits::{Limit, Limited, RateLimits, Window};
pub use plan::{CallId, End, Frame, Head, Outcome, Plan};
pub use rules::Rule;
pub use traces::{Trace, Traces};
pub use transport::{Body, ConnectionClosed, ResponseFuture, Server, Transport};
pub use vendor::Vendor;
