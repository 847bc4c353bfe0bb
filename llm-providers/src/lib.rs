#![doc = include_str!("../README.md")]
//!
//! # Overview
//!
//! Every client is a [`Client`] of a [`protocol::VendorProtocol`], which is a codec without I/O. A client sends HTTP
//! requests through the trait [`transport::Transport`]. [`openai`] has the table of servers that speak OpenAI's format,
//! and [`openai::serve`] writes responses for a service's own clients in that format. The documentation of [`ledger`]
//! defines its terms, and that of [`prices`] names the sources of prices.
//!
//! # Behaviour
//!
//! - A call is marked as sent right before its request goes to the transport. A failure before that costs nothing. A
//!   refusal by the vendor costs nothing either. The charge of any other failure without a usage is unknown.
//! - Each count in the usage of a response is the largest that its vendor stated. Without a count for the prompt, or
//!   with a count that is impossible, the usage is unknown;
//!   [`Accounting::unusable_usage`](llm_core::layer::Accounting::unusable_usage) names the count.
//! - A stream is complete if every choice has a reason for its end, and either all requested choices or the vendor's
//!   own end (`[DONE]`) have arrived; otherwise it ends with an error.
//! - The future of a streamed call is ready at the first [content](llm_core::ChatEvent::is_content). The events before
//!   it are held back, at most 64 and at most 10 s, and the stream begins with them. The call returns an error that
//!   arrives before the content, so that a layer can retry the call or use another vendor. Such an error costs nothing
//!   if the vendor refused the request.
//! - Fields that another vendor's response left in a conversation (signatures, citations, parts of its own kinds) are
//!   refused by name. With `approximate`, fields that only prove or annotate something are left out instead.
//! - A call's deadline bounds connecting, waiting and every piece of the response.
//! - The size of a response is bounded by [`Client::max_body_bytes`], that of each event of a stream by
//!   [`Client::max_event_bytes`].
//! - A request that a format cannot express is refused with an error that names the field. Unknown fields are kept in
//!   requests and responses.
//!
//! # Cloning and readiness
//!
//! Clients are always ready. Clones are cheap and share their connections; clones of a ledger share its accounts.
//!
//! # Errors
//!
//! Calls return [`llm_core::Error`], with the status, code, request id, waiting time and limits that the vendor stated.
//! The documentation of each vendor's module, such as [`openai`], has a table of the vendor's errors. No message holds
//! a key or a URL.
//!
//! # Observability
//!
//! Each call to a vendor has a span `llm.call` with OpenTelemetry's `gen_ai.*` fields: operation, provider, models,
//! tokens, kind of error. The span holds no prompt, no response, no key and no tenant.
//!
//! With the feature `metrics`, the ledger's attempts layer records the number of attempts, errors by kind, running
//! attempts, durations, times to the first content, tokens and cost. The page `docs/metrics.md` of the repository lists
//! the metrics of all crates.
//!
//! # Feature flags
//!
//! | feature | default | effect |
//! |---|---|---|
//! | `reqwest` | on | [`transport::Reqwest`], a transport over the HTTP client `reqwest` |
//! | `rustls` | on | TLS for [`transport::Reqwest`]; without this feature only plain HTTP works |
//! | `http2` | off | HTTP/2 for [`transport::Reqwest`], if the server offers it |
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
