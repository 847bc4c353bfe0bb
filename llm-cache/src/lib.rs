//! A cache for answers of language models: each question is paid once.
//!
//! # Overview
//!
//! [`CacheLayer`] puts a [`Cache`] in front of any service of the family; [`Cache::get_or_call`] works without it, for
//! any client and any serializable type. An answer is stored under its question's exact content, the namespace and the
//! tenant; it is served until its time is over. Equal questions that are asked at the same time make one call, whose
//! answer all get: streams too, from the first event on. An entry written by a unary call serves a streamed one, and the
//! other way round.
//!
//! A request that can be divided (embeddings) is answered item by item: known texts from the store, texts that are being
//! asked for right now from those calls, the rest with one call.
//!
//! It holds answers in memory, bounded in bytes; by features also in a file, or in Redis for a whole fleet. It is no semantic
//! cache: it answers the same question, never a similar one.
//!
//! # Example
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use llm_cache::{Cache, CacheLayer};
//! use llm_core::{Call, ChatRequest, Origin, into_provider};
//! # use llm_providers::scripted::Scripted;
//!
//! # tokio_test::block_on(async {
//! # let client = Scripted::new();
//! let cache = Cache::builder("test-cases").ttl(Duration::from_secs(7 * 24 * 3600)).build()?;
//! let provider = into_provider(tower::ServiceBuilder::new().layer(CacheLayer::new(cache)).service(client));
//!
//! let ask = || Call::new("acme", ChatRequest::new("gpt-4o-mini").user("Name a test case for a login form."));
//! let first = provider.chat(ask()).await?;
//! let second = provider.chat(ask()).await?;
//! assert_eq!(first.receipt.origin(), Origin::Vendor);
//! assert!(matches!(second.receipt.origin(), Origin::Cache { tier: "memory", .. }));
//! assert_eq!(first.output, second.output);
//! # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! # How it decides
//!
//! - **The key** is the question's canonical bytes (`llm_core::Fingerprinter`), whole, behind namespace, tenant and the
//!   operation's name. A hit compares all of them, so no hash collision hands out a foreign answer.
//! - **One flight per key.** Whoever asks first starts the call. It belongs to all who wait: any of them may be
//!   cancelled, the first too; when the last goes, the call is dropped and settles. Waiters sleep until something
//!   happens: one is woken to go on, all when there is an answer.
//! - **What a flight does not share:** the caller's envelope. Priority classes fly apart; the call goes up without a
//!   deadline, and each caller minds his own; an error that is about another caller's call makes a waiter lead again.
//! - **What is stored:** complete answers that the operation would keep (`Operation::keeps`: not those cut short, filtered,
//!   refused, or with tool arguments that are no JSON) to questions that stand alone (`Operation::stands_alone`: no
//!   addresses, files, earlier answers or searches), if the application ([`CacheBuilder::keep_if`]) and the size bound
//!   agree. Errors reach those who waited, and are not stored. An answer is stored before its flight leaves the table, so
//!   between the two nobody pays again.
//! - **Freshness:** an entry is fresh until its time to live is over, by the wall time of `llm_core::Clock`: the call's own
//!   ([`Directive::ttl`]), else that of the first [`TtlRule`] that fits, else the cache's. Past its time it can still be
//!   served to a call that allows it, or when the call that was to replace it fails because of the vendor or a budget
//!   ([`CacheBuilder::stale_if_error`]); it then says so.
//! - **Invalidation:** [`Cache::invalidate`] drops all answers with a [`Tag`] (tenant, model, label, or one of your own) at
//!   once, without a scan. What was invalidated is never served, not even stale, nor is an answer whose call began before.
//! - **Directives:** a call can ask for `no_store`, `no_cache`, `max_age`, `max_stale` or `only_if_cached`, with HTTP's
//!   meaning, as far as the operator's [`Caps`] let it. [`CacheStatus`] says how the cache took part in a reply.
//! - **Room:** at most `max_bytes`; the least recently used answers go first.
//!
//! # Readiness and cloning
//!
//! [`Cached`] is always ready; a hit needs nothing below it. Clones share one [`Cache`].
//!
//! The call of a flight runs inside its waiters' futures; there is no task behind it. Poll them (spawn them, join them):
//! a reply that is held but not polled may hold up the others for as long as nobody else comes or goes.
//!
//! # Errors
//!
//! The inner service's, as they are. A call that panics ends with an error for everybody else who waited.
//!
//! # Redis
//!
//! With the feature `redis`, all processes that name the same Redis ([`CacheBuilder::open`] with `redis://…`, or
//! [`CacheBuilder::redis`]) share answers, and each question is paid once among them: whoever asks first takes a lease, and the
//! others wait for the message that the answer is stored. A leader that dies is replaced when its lease ends
//! ([`CacheBuilder::lease`]); the worst case is a call that is made twice. Whoever stops in good order calls [`Cache::close`]
//! before, so that his last answers arrive.
//!
//! - **Round trips:** one for a hit, two for a miss that leads (and one behind it), four and a subscription for who waits for
//!   another process. A hit in the memory in front needs none.
//! - **Invalidation** reaches every process within [`CacheBuilder::invalidated_within`], one second, its memory too.
//!   [`Cache::remove`] does not: others may have that answer in memory for [`CacheBuilder::memory_ttl`].
//! - **Outage:** calls go on with what is in memory, then upstream; none waits longer than [`CacheBuilder::redis_timeout`],
//!   50 ms, and none at all once Redis is known to be away. What cannot be written is dropped and counted.
//! - [`Stats::entries`] and [`Stats::bytes`] are those of the memory in front.
//!
//! The repository's `docs/fleet.md` tells how to size and set up the server, and more of how it decides.
//!
//! # Feature flags
//!
//! | feature | what it adds |
//! |---|---|
//! | `admin` | the program `llm-cache`, which copies, lists, purges and counts stores |
//! | `file` | answers in a file, memory in front of it if wanted |
//! | `metrics` | counters, gauges and histograms through the `metrics` facade |
//! | `redis` | answers in Redis, memory in front of it, one payment per question in the fleet |
//! | `redis-cluster` | `redis+cluster://` |
//! | `redis-tls` | `rediss://` |

mod audit;
mod background;
mod builder;
mod cache;
mod counts;
mod directive;
#[cfg(feature = "redis")]
mod fleet;
mod flight;
mod freshness;
mod generations;
mod inner;
#[cfg(feature = "at-rest")]
mod inspect;
mod items;
mod key;
mod layer;
#[cfg(feature = "at-rest")]
mod migrate;
mod observe;
mod opening;
mod refresh;
mod refusal;
mod samples;
mod service;
mod status;
mod store;
mod telemetry;
mod upstream;
mod url;

pub use self::audit::{Audit, Disagreement};
pub use self::builder::{BuildError, CacheBuilder};
pub use self::cache::{Answered, Cache, CallError, Stats};
pub use self::directive::{Caps, Directive};
pub use self::freshness::TtlRule;
pub use self::generations::Tag;
pub use self::key::Key;
pub use self::layer::CacheLayer;
pub use self::service::Cached;
pub use self::status::{CacheStatus, Miss, Observed, Stale};
pub use self::store::{Policy, StoreError};
pub use self::url::{StoreUrl, UrlError};
#[cfg(feature = "at-rest")]
pub use self::{
    inspect::{Listing, StoredEntry},
    migrate::{Migrated, migrate},
    store::{Cursor, KeyRing, Keys, Secret},
};
pub use llm_core;
#[cfg(feature = "redis")]
pub use llm_redis;
