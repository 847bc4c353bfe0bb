//! Provider that responds by rules, for your own tests. It needs no network and no key, and waits only if a rule has a
//! delay, a pace or no response.
//!
//! ```
//! use std::time::Duration;
//! use llm_core::{Call, ChatRequest, Error, ErrorKind, Provider};
//! use llm_providers::scripted::{Rule, Scripted};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Error> {
//! let vendor = Scripted::new()
//!     .rule(Rule::fail(Error::new(ErrorKind::RateLimited, "slow down")).containing("invoice").nth(1))
//!     .rule(Rule::say("a test case").containing("invoice").after(Duration::from_secs(2)));
//! let ask = |text: &str| vendor.chat(Call::new("acme", ChatRequest::new("m").user(text)));
//!
//! assert_eq!(ask("an invoice").await.unwrap_err().kind(), ErrorKind::RateLimited);
//! assert_eq!(ask("an invoice").await?.output.text(), "a test case");
//! assert_eq!(ask("hello").await?.output.text(), "hello", "no rule: it repeats what the user said");
//! assert_eq!(vendor.calls(), 3);
//! # Ok(())
//! # }
//! ```
//!
//! It does not simulate a vendor, so it has no bills, no limits and no vendor's format. Its receipts name no provider,
//! so that the prices of any provider in a table apply.

mod paced;
mod provider;
mod rule;
mod state;

pub use self::provider::Scripted;
pub use self::rule::Rule;
pub use self::state::Counts;
