#![doc = include_str!("../README.md")]
//!
//! # Overview
//!
//! All clients are one [`Client`] of a [`protocol::VendorProtocol`], a format without input or output. HTTP is behind the
//! seam [`transport`]. [`openai`] has the table of servers that speak OpenAI's format, and [`openai::serve`] answers a service's
//! own clients in it. [`ledger`] defines its terms, and
//! [`prices`] says where prices come from.
//!
//! # Behaviour
//!
//! - A call is marked as sent right before its request goes to the transport. What fails before costs nothing; so
//!   does what the vendor refuses. Of anything else without a usage the charge is unknown.
//! - The usage of a response is the largest that its vendor stated of each part. Without a prompt in it, or with a count
//!   that cannot be one, it is unknown; [`Accounting::unusable_usage`](llm_core::layer::Accounting::unusable_usage) names the count.
//! - A stream is whole if every choice has a reason of its end, and as many came as were requested or the vendor's own end
//!   (`[DONE]`); otherwise it ends with an error.
//! - A streamed call resolves at its first [content](llm_core::ChatEvent::is_content). The events before it are held back, at
//!   most 64 and at most 10 s, and the stream begins with them. An error before the content is the call's, so that a retry
//!   or another vendor may follow, and costs nothing if the vendor refused the request.
//! - What another vendor's response left in a conversation (signatures, citations, parts of its own kinds) is refused by
//!   name, or, where it only proves or annotates, left out with `approximate`.
//! - A call's deadline bounds connecting, waiting and every piece of the response.
//! - Responses are read up to a bound: [`Client::max_body_bytes`], and for each event of a stream
//!   [`Client::max_event_bytes`].
//! - A request that a format cannot express is refused, naming the field. Unknown fields are kept in both directions.
//!
//! # Cloning and readiness
//!
//! Clients are always ready. Clones are cheap and share their connections; clones of a ledger share its accounts.
//!
//! # Errors
//!
//! [`llm_core::Error`], with the vendor's status, code, request id, waiting time and limits where it stated them. The
//! tables are in the docs of the vendors' modules, such as [`openai`]. No message holds a key or a URL.
//!
//! # Observability
//!
//! One span `llm.call` for each call to a vendor, with OpenTelemetry's `gen_ai.*` fields: operation, provider, models,
//! tokens, kind of error. It holds no prompt, no response, no key and no tenant.
//!
//! With feature `metrics` the ledger's attempts layer records attempts: number, errors by kind, running ones, time, time to
//! the first content, tokens and cost. The page `docs/metrics.md` of the repository lists the metrics of all crates.
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
//! | `metrics` | off | metrics of attempts, through the `metrics` facade |

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod anthropic;
#[cfg(feature = "async-openai")]
pub mod async_openai;
pub mod batch_limits;
mod client;
mod deadline;
#[cfg(feature = "metrics")]
mod describe;
mod forward;
#[cfg(feature = "reqwest")]
mod from_url;
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
#[cfg(feature = "metrics")]
pub use self::describe::{SECONDS_BUCKETS, describe_metrics};
#[cfg(feature = "reqwest")]
pub use self::from_url::from_url;
pub use self::gemini::Gemini;
pub use self::ledger::{
    Attempt, Attempts, AttemptsLayer, Balance, Charged, Ledger, Outcome, Requests, RequestsLayer, Row, Snapshot,
    Unconfirmed, Waste, WastedSpend,
};
pub use self::openai::OpenAi;
