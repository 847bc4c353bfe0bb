//! Limits and budgets per tenant for calls to language models, as a tower layer and as a library of its own.
//!
//! # Overview
//!
//! Before a call a [`Limiter`] *reserves* what the call may use, and after it the call is *settled* by what it used.
//! [`Plans`] say how much of what: requests, tokens, money, calls at one time, and whatever the application sells; as
//! token buckets or in calendar windows; for each tenant, plan, model, provider or label, or for all together.
//! [`RateLimitLayer`] puts a limiter in front of any service of the family; [`Limiter::try_reserve`] works without it, for
//! any client.
//!
//! It is no cache and retries nothing. Above a cache it counts what a customer bought, below it what is spent; where it
//! stands is the application's choice. Vendors' own limits, and which key to use, are `llm-keypool`'s.
//!
//! # Example
//!
//! ```
//! use llm_core::{Call, ChatRequest, ErrorKind, into_provider};
//! use llm_ratelimit::{Limiter, Plans, RateLimitLayer};
//! # use llm_providers::{prices, scripted::Scripted};
//!
//! # tokio_test::block_on(async {
//! # let client = Scripted::new();
//! let plans = Plans::uniform(["10/minute", "2 proposals/month", "$3/day in Europe/Berlin"])?;
//! let limiter = Limiter::builder(plans).unit("proposal").prices(prices::openai()).build()?;
//! let provider = into_provider(tower::ServiceBuilder::new().layer(RateLimitLayer::new(limiter.clone())).service(client));
//!
//! let ask = || Call::new("acme", ChatRequest::new("gpt-4o-mini").user("Draft a proposal for a car park."));
//! provider.chat(ask()).await?;
//! provider.chat(ask()).await?;
//! let refused = provider.chat(ask()).await.unwrap_err();
//! assert_eq!(refused.kind(), ErrorKind::OverBudget);
//! assert!(refused.retry_after().is_some());
//! for standing in limiter.usage("acme").iter() {
//!     println!("{}: {} left", standing.limit, standing.remaining);
//! }
//! # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! # How it decides
//!
//! - **All or nothing.** All limits of a call are looked up and decided under the locks of the stripes they are in, taken in
//!   one order. So no two calls get the same room, and a refused call has taken nothing. Every call is decided in this one
//!   way, which also returns the [levels of its limits](Reservation::limit_statuses).
//! - **Reserve, then settle.** A call reserves what its [`Estimator`] says; [`Learned`] learns from what calls took,
//!   [`UpperBound`] never says too little. A call known not to have been sent costs nothing; one that was sent and whose
//!   usage is unknown keeps its whole reservation as spent, or what the vendor told before it broke off if that is more;
//!   slots always come back. That holds for a call that is dropped, too. Every limit that applies to a call is settled,
//!   also where the call reserved nothing of it: a limit that is exceeded refuses calls that reserve nothing.
//! - **Further attempts** of a call ask for room of their own, where the layer that retries knows how
//!   ([`AttemptPermit`](llm_core::layer::AttemptPermit)), and what a failed one may have cost is counted;
//!   [`RateLimitLayer::fallback_models`] names the models that may answer instead. A stream that says more than was reserved asks
//!   for more, or is cut off ([`OverrunPolicy`]).
//! - **Buckets** drain first in, first out. What a call gives back is what of its share has not drained yet, so a bucket
//!   never holds less than if the call had taken from the start what it used: burst + rate is never passed, whatever is
//!   given back.
//! - **Windows** count a call where it began. What it takes beyond its reservation counts in the window in which that
//!   becomes known. As far as it passes the limit it is debt, and the next windows pay it: over any time, all windows
//!   together use no more than their limits and what is owed at the end. With upper bounds there is no debt.
//! - **Refusals** state the true time to wait: when the call would fit if nobody else took anything. One that can never
//!   fit says so at once.
//! - **Waiting** ([`Waiting`]) is bounded by the deadline and by the tokens that wait. In the line for one account,
//!   tenants are served by their plans' weights, and interactive calls before background ones, which get every sixteenth
//!   turn. Whoever comes later does not take the room of those who wait, and nobody fills the queue for others.
//! - **Plans change** at run time ([`Limiter::replace`]) without forgetting what was used: a counter belongs to what is
//!   counted, over what time and for whom, not to how much is allowed.
//! - **Memory is bounded.** An idle tenant is forgotten when it owes nothing and nothing of its windows is used. Where
//!   there is no room for one more ([`LimiterBuilder::max_accounts`]), those without room share a few accounts.
//! - **Time** is the wall time of `llm_core::Clock`; the system's own is read every 10 ms and counted on in between. Set
//!   back, it neither fills buckets nor brings back a window that is over; set ahead, it ends windows, and they stay ended.
//!   Back from more than a window ahead, it has the window that it left end when the present one does.
//!
//! Counters are not `governor`'s: its cells are 32 bits wide, and it can neither give back what was not used, nor decide
//! several quotas together, nor change one at run time. Tests hold these buckets against it, decision by decision. A
//! decision about one quota takes some four times its time, and a refusal less than a decision with its settlement: a
//! [`Refusal`] holds data, without a text, and for up to four limits without an allocation.
//!
//! # Readiness and cloning
//!
//! [`RateLimit`] is always ready; a call waits inside its future. Clones share one [`Limiter`]. Waiting for room,
//! [`Limiter::close`], [`Webhook::spawn`] and [`RateLimitLayer::durable_reservations`] need a tokio runtime with timers, and end
//! with an error without one ([`NoRuntime`], [`Reason::NoRuntime`]); all else works outside of tokio, too. Nothing spawns a task but
//! [`Webhook::spawn`], nothing starts a thread but [`BalancePersisterBuilder::start`].
//!
//! The books are in memory. A [`BalancePersister`] keeps what calendar windows hold in a [`Store`], such as a file, so that a
//! restart does not give everybody a new month; it starts a thread, and says what a crash can lose.
//! [`RateLimitLayer::durable_reservations`] loses nothing, for the price of a write before each call. To keep balances elsewhere:
//! [`Limiter::changed_balances`] and [`Limiter::restore`].
//!
//! # Errors
//!
//! A refusal is an [`llm_core::Error`] whose source is a [`Refusal`]: `RateLimited` for buckets and calls at one time,
//! `OverBudget` for calendar windows and for what can never fit, `Overloaded` for what an operator sheds. The charge is
//! none.
//!
//! # Telling
//!
//! A span `llm.ratelimit` for each call of the layer says how it came to its reservation, or why not
//! (`llm.ratelimit.outcome`), its plan, and whether that was only observed (`llm.ratelimit.observes`). With feature `metrics`, a recorder is told the following; no tenant is a label.
//!
//! | metric | kind | labels | counts |
//! |---|---|---|---|
//! | `llm_ratelimit_granted_total` | counter | `plan` | reservations |
//! | `llm_ratelimit_refused_total` | counter | `plan`, `reason` | refusals |
//! | `llm_ratelimit_wait_seconds` | histogram | `plan` | how long calls waited, whatever came of it |
//! | `llm_ratelimit_reserved_tokens_total`, `llm_ratelimit_used_tokens_total` | counter | | of calls whose usage is known |
//! | `llm_ratelimit_refunded_tokens_total`, `llm_ratelimit_excess_tokens_total` | counter | | by how much estimates were off |
//! | `llm_ratelimit_debt_total` | counter | `measure` | what calls took beyond a calendar window's limit |
//!
//! # Feature flags
//!
//! | feature | default | what it does |
//! |---|---|---|
//! | `file` | off | a [`Store`] in a file |
//! | `metrics` | off | the table above, through the `metrics` facade |
//! | `tokenizer` | off | `OpenAiTokens`, which counts the tokens of OpenAI's models exactly |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod account;
mod account_table;
mod balance;
mod balance_persister;
mod bucket;
mod build_error;
mod builder;
mod calendar;
mod counter;
mod demand;
mod emergency;
mod estimate;
mod event;
mod flush_watchdog;
mod inner;
mod layer;
mod limit;
mod limit_status;
mod limiter;
mod plans;
mod queue;
mod quota;
mod refusal;
mod reservation;
mod rules;
mod running;
mod runtime;
mod scope;
mod service;
mod store;
mod telemetry;
mod time;
#[cfg(feature = "tokenizer")]
mod tokenizer;
mod unit;
mod webhook;
mod window;

pub use self::balance::Balance;
pub use self::balance_persister::{BalancePersister, BalancePersisterBuilder};
pub use self::build_error::BuildError;
pub use self::builder::{LimiterBuilder, UnknownPrice, Waiting};
pub use self::calendar::{Calendar, CalendarUnit};
pub use self::demand::{Demand, Settlement};
pub use self::emergency::{Emergency, Shed};
pub use self::estimate::{EstimateInput, Estimator, Learned, UpperBound};
pub use self::event::{Event, Sink};
pub use self::layer::{OverrunPolicy, RateLimitLayer};
pub use self::limit::{Dimension, Limit};
pub use self::limit_status::{LimitStatus, LimitStatuses};
pub use self::limiter::{Limiter, Stats};
pub use self::plans::{Plan, PlanError, Plans};
pub use self::quota::{Quota, QuotaError};
pub use self::refusal::{Reason, Refusal};
pub use self::reservation::Reservation;
pub use self::runtime::NoRuntime;
pub use self::service::{RateLimit, ShadowRefusal};
pub use self::store::{Store, StoreError};
#[cfg(feature = "tokenizer")]
pub use self::tokenizer::OpenAiTokens;
pub use self::unit::{Unit, UnitName};
pub use self::webhook::{Form, Webhook};
pub use llm_core;
