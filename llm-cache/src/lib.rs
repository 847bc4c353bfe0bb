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
//! It holds answers in memory, bounded in bytes. It is no semantic cache: it answers the same question, never a similar
//! one. Files, Redis, freshness by rule, tags and encryption come next.
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
//! - **What is stored:** complete answers that the operation would keep (`Operation::keeps`; not tool arguments that are
//!   no JSON). Errors reach those who waited, and are not stored. An answer is stored before its flight leaves the
//!   table, so between the two nobody pays again.
//! - **Freshness:** an entry is served until its time to live is over, by the wall time of `llm_core::Clock`.
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
//! # Feature flags
//!
//! None yet.

mod cache;
mod flight;
mod key;
mod layer;
mod memory;
mod service;

pub use self::cache::{Answered, BuildError, Cache, CacheBuilder, CallError, Stats};
pub use self::key::Key;
pub use self::layer::CacheLayer;
pub use self::service::Cached;
pub use llm_core;
