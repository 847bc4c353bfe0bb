//! Retries of failed calls, within a budget. Use this layer for an application with one client and no key pool.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), llm_core::Error> {
//! use llm_core::{Call, ChatRequest, into_provider};
//! use llm_providers::{OpenAi, retry::RetryLayer};
//! # use llm_testkit::{Fault, RetryForm, Rule, Vendor};
//! # let vendor = Vendor::new();
//! # vendor.script(Rule::new(Fault::rate_limited(std::time::Duration::from_secs(2), RetryForm::Seconds)).once());
//! # let transport = vendor.transport();
//!
//! let client = OpenAi::with_transport("sk-secret", transport)?;
//! let provider = into_provider(tower::ServiceBuilder::new().layer(RetryLayer::new()).service(client));
//! // The vendor refuses once, and asks to wait for two seconds.
//! let reply = provider.chat(Call::new("acme", ChatRequest::new("gpt-4o-mini").user("hello"))).await?;
//! # assert!(!reply.output.text().is_empty());
//! # Ok(()) }
//! ```
//!
//! # Behaviour
//!
//! A call is retried if all of these hold:
//!
//! - the error [is retryable](llm_core::Error::is_retryable), and the operation [repeatable](llm_core::Operation::is_repeatable);
//! - nothing is charged for the failed attempt, or [`retry_charged`](RetryLayer::retry_charged) is on (a 429, a 503 and
//!   a connection that could not be opened cost nothing; the charge of a 500 or a connection that broke off is
//!   unknown);
//! - there are [attempts](RetryLayer::attempts) left, and the [budget](RetryBudget) has a retry left, so that retries
//!   do not overload a vendor while most calls fail;
//! - the waiting time that the vendor asks for is at most [`max_retry_after`](RetryLayer::max_retry_after), and ends
//!   before the call's deadline, which may be that of several callers
//!   ([`CallDeadline`](llm_core::layer::CallDeadline));
//! - the layers above permit one more attempt ([`AttemptPermit`](llm_core::layer::AttemptPermit)).
//!
//! A stream is retried up to its first content, never after it. If a call is not retried, its error is returned with
//! the charges of all attempts ([`Error::attempts`](llm_core::Error::attempts)).
//!
//! # Waiting times
//!
//! A retry waits for the time that the vendor states. If it states none, the retry waits for a random time between zero
//! and a bound that doubles with each attempt ("full jitter"), so that callers who failed together do not retry
//! together.
//!
//! # Position in the stack
//!
//! Put the layer above the ledger's [attempts layer](crate::Ledger::attempts), which then books every attempt, and
//! below caches and limits. Do not put it above or below another layer that retries. To prevent nested retries, the
//! layer marks calls with [`NestedRetry`](llm_core::layer::NestedRetry), and sends a call that another layer has marked
//! only once. A key pool below the layer may still send a marked call with another key.

mod layer;
mod service;

pub use llm_core::layer::RetryBudget;

pub use self::layer::RetryLayer;
pub use self::service::Retry;
