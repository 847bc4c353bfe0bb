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
//! It holds answers in memory, in a file, in Redis for a whole fleet, or in memory in front of these, as an address says
//! ([`StoreUrl`]); bounded in bytes, and sealed outside the process if there are keys. It is no semantic cache: it answers the
//! same question, never a similar one.
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
//! - **The key** is the request's canonical bytes (`llm_core::layer::Fingerprinter`) behind namespace, tenant and the operation's
//!   name. A hit compares all of them. A request longer than 4 KiB is keyed by its 256-bit BLAKE3 digest under a random key of the
//!   process ([`Key`]), so a photo takes no more room than a text.
//! - **One flight per key.** Whoever asks first starts the call. It belongs to all who wait: any of them may be
//!   cancelled, the first too; when the last goes, the call is dropped and settles. Waiters sleep until something
//!   happens: one is woken to go on, all when there is an answer.
//! - **A size bound:** a running stream that grows past [`CacheBuilder::max_response_bytes`] is joined by nobody any more and
//!   held for nobody: whoever asks then makes a call of his own.
//! - **What a flight does not share:** the caller's envelope. Priority classes fly apart; the call goes up without a
//!   deadline, and each caller minds his own; an error that is about another caller's call, or that may be about other
//!   texts which that call was for, makes a waiter lead again.
//! - **What is stored:** complete answers that the operation would keep (`Operation::is_cacheable`: not those cut short, filtered,
//!   refused, or with tool arguments that are no JSON) to questions that stand alone (`Operation::is_self_contained`: no
//!   addresses, files, earlier answers or searches) and that have the form they ask for (`Operation::conforms`: JSON, and the
//!   structure of its schema), not those of a model that a lower layer fell back on, if the application ([`CacheBuilder::cache_if`]) and the size bound
//!   agree. Errors reach those who waited, and are not stored. An answer is stored before its flight leaves the table, so
//!   between the two nobody pays again. [`CacheBuilder::negative_ttl`] remembers, in memory and for a short time, that a
//!   question is invalid or too long.
//! - **Several answers:** with [`CacheBuilder::variants`], a question with a temperature above zero has up to n different
//!   answers, given out in turn.
//! - **Freshness:** an entry is fresh until its time to live is over, by the wall time of `llm_core::Clock`: the call's own
//!   ([`Directive::ttl`]), else that of the first [`TtlRule`] that fits, else the cache's. Past its time it can still be
//!   served to a call that allows it, or when the call that was to replace it fails because of the vendor, a budget or its deadline
//!   ([`CacheBuilder::stale_if_error`]); it then says so. With [`Background::revalidate`] it is served at
//!   once, while one call in the background replaces it. [`Cache::get_or_call`] serves fresh answers only.
//! - **In the background:** refreshes, audits ([`Verification`]: a share of the hits is asked again and compared) and calls that go
//!   on when all have left ([`Background::complete_on_disconnect`]) run in tasks, at most as many as
//!   [`CacheBuilder::background`] allows; without it the cache spawns nothing. They are made in the name of the
//!   tenant that caused them, refreshes and audits at background priority, with `llm_core::layer::Purpose` in their extensions.
//! - **Sharing:** an answer is its tenant's, unless a call names a scope ([`Directive::shared`]) and the operator allows that
//!   ([`DirectivePolicy::allow_sharing`]). A scope shares stored answers, never running calls.
//! - **Invalidation:** [`Cache::invalidate`] drops all answers with a [`Tag`] (tenant, model, label, or one of your own) at
//!   once, without a scan. What was invalidated is never served, not even stale, nor is an answer whose call began before.
//! - **Directives:** a call can ask for `no_store`, `no_cache`, `max_age`, `max_stale` or `only_if_cached`, with HTTP's
//!   meaning, as far as the operator's [`DirectivePolicy`] let it. [`CacheStatus`] says how the cache took part in a reply.
//! - **Observing:** with [`CacheBuilder::shadow`] all of this is decided and counted, and each call passes as it is;
//!   [`ShadowStatus`] on its reply says what would have become of it.
//! - **Room:** at most `max_bytes`, which counts what is allocated. What is too large to store is counted
//!   ([`Stats::too_large`]), and logged once. In memory the least recently used answers go first, in a file those that were stored
//!   first.
//!
//! How often it answers, by policy, room and time to live, is measured in [`hit_rates`].
//!
//! # Stores
//!
//! Memory holds answers as they are, so that a hit decodes nothing. A file (`file:///path`, feature `file`) holds them
//! across restarts. One process at a time can have it open; another gets an error that names it. Several caches of one
//! process can share it, each with its own namespace: [`CacheBuilder::share_store_with`].
//!
//! - **Writing** is off the answer's path: one thread, which [`CacheBuilder::build`] starts, writes all that is pending with
//!   one durable commit; what is pending is served from memory. At most 16 MiB wait; what comes while they do is not
//!   written, and counted ([`Stats::dropped_writes`]). [`Cache::close`] waits until all that was stored before is written; dropping
//!   the last clone of a cache does that too, and closes the file.
//! - **Reading** is done on tokio's threads for blocking work, at most 16 at once, each for at most 5 seconds. Without a
//!   tokio runtime it is done where the cache is asked. A store that fails has nothing: calls go up.
//!   After a failure of the disk (a full one) the file is opened anew, at most every five seconds. A file that turns out to be
//!   damaged is named in the log, moved aside (`.damaged`) and replaced by an empty one after the first failing look-up.
//! - **A crash** loses what was pending and nothing else. Opening the file then reads all of it once.
//! - **Invalidation** is on the disk when its future is ready, and holds whatever the clock shows after a restart.
//! - **Room:** the bound counts entries, keys of 48 bytes and 256 bytes for each entry; the file itself is larger, mostly
//!   three times as large, up to four, and does not shrink. Entries past their time go with each commit, and when nothing else is to do.
//!
//! With `memory=64mb` in its address, memory stands in front: it keeps what was stored or fetched for at most `memory_ttl`,
//! and a hit there is as quick as without a file.
//!
//! # At rest
//!
//! An entry outside the process is a versioned frame around the answer's JSON text and what is known of it, packed with zstd
//! from 1 KiB on. Fields that a version does not know are skipped, those that it misses are done without; so two versions
//! can share a store. The question is not written: an entry has a keyed hash of it as its name, and a digest within, so that
//! `migrate` can give it another name. Set a secret (`CacheBuilder::secret`): with the default names, whoever reads the
//! store can find the answer to a question that he guesses.
//!
//! Whatever cannot be read, because it was changed, cut off, moved, written by another program or a newer format, is a miss,
//! counted in [`Stats::corrupt`]. A check over name and entry finds damage always, malice if there is a secret.
//!
//! With `CacheBuilder::encryption_keys` each tenant's entries are sealed with his own key, and what is shared with that of its scope
//! (XChaCha20-Poly1305, a random nonce, the name as associated data). Without a key nothing of him is stored or read there:
//! dropping a key erases what it sealed, in backups too. Memory holds answers in the clear.
//!
//! The program `llm-cache` (feature `admin`) copies stores, and lists, empties and counts them: `llm-cache --help`.
//!
//! # Readiness and cloning
//!
//! [`Cached`] is always ready; a hit needs nothing below it. Clones share one [`Cache`].
//!
//! Where there is a tokio runtime around it, its timers must be on (`enable_time`).
//!
//! The call of a flight runs inside its waiters' futures; there is no task behind it. Poll them (spawn them, join them):
//! a reply that is held but not polled may hold up the others for as long as nobody else comes or goes.
//!
//! # Errors
//!
//! The inner service's, as they are. A shared call that panics ends with an error for all its callers, and so does one
//! whose tokio runtime ends while a caller in another runtime waits for it.
//!
//! # Telling
//!
//! [`CacheStatus`] is on every reply and prints as an RFC 9211 `Cache-Status` value; [`Cache::stats`] counts. Calls run in
//! a span `llm.cache` (debug) with `llm.operation`, `llm.cache.status` and `llm.cache.detail`; hits in memory are an event
//! with the same fields. No question, answer, key or tenant is told.
//!
//! With feature `metrics`, a recorder that is installed before the cache is built is told the following, labelled `cache`
//! with the namespace:
//!
//! | Name | Kind | What |
//! |---|---|---|
//! | `llm_cache_hits_total` | counter | stored answers served, stale ones included |
//! | `llm_cache_remote_hits_total` | counter | those that lay further away than memory |
//! | `llm_cache_stale_total` | counter | those past their time |
//! | `llm_cache_misses_total` | counter | calls made for want of an answer, those that failed too |
//! | `llm_cache_bypassed_total` | counter | calls that wanted the cache to keep out of it |
//! | `llm_cache_failed_calls_total` | counter | calls made that failed |
//! | `llm_cache_coalesced_total` | counter | answers that came of a call that was running |
//! | `llm_cache_negative_hits_total` | counter | refusals that were remembered |
//! | `llm_cache_stored_total` | counter | answers stored |
//! | `llm_cache_too_large_total` | counter | answers that were too large to store |
//! | `llm_cache_evictions_total` | counter | entries that had to make room, in any tier |
//! | `llm_cache_store_errors_total` | counter | failures of a store, those behind its callers too |
//! | `llm_cache_corrupt_total` | counter | entries at rest that could not be read |
//! | `llm_cache_dropped_writes_total` | counter | answers that were to be written further away and were not |
//! | `llm_cache_revalidated_total` | counter | calls made to replace answers past their time |
//! | `llm_cache_skipped_total` | counter | calls that the background had no room for |
//! | `llm_cache_detached_total` | counter | calls that went on when all had left |
//! | `llm_cache_verified_total` | counter | hits that were asked again |
//! | `llm_cache_mismatched_total` | counter | those with another answer |
//! | `llm_cache_saved_nano_usd_total` | counter | list price of what did not have to be bought, nano-dollars |
//! | `llm_cache_entries`, `llm_cache_bytes` | gauge | what the store furthest away holds, after each answer stored |
//! | `llm_cache_lookup_seconds` | histogram | time of a look-up, by `tier`: `memory`, or `far` |
//!
//! What a store counts itself (evictions, its own failures, what is spoilt or unwritten) is told after each answer stored.
//!
//! # Redis
//!
//! With the feature `redis`, all processes that name the same Redis ([`CacheBuilder::open`] with `redis://…`, or
//! `CacheBuilder::redis`) share answers, and each question is paid once among them: whoever asks first takes a lease, and the
//! others wait for the message that the answer is stored. A leader that dies is replaced when its lease ends
//! (`RedisOptions::lease`); the worst case is a call that is made twice. A process that stops in good order calls
//! [`Cache::close`] before, so that its last answers arrive and it leaves no lease behind.
//!
//! - **Two bounds:** a look-up waits at most `RedisOptions::redis_timeout`, 50 ms. A call that is about to be paid waits for
//!   the claim of its lease up to `RedisOptions::claim_timeout`, one second. Where Redis answers a claim within that, a
//!   question is paid once in the fleet.
//! - **Round trips:** one for a hit, two for a miss that leads (and one behind it), four and a subscription for who waits for
//!   another process. A hit in the memory in front needs none.
//! - **Invalidation** reaches every process within `RedisOptions::invalidation_bound`, one second, its memory too.
//!   [`Cache::remove`] does not: others may have that answer in memory for `RedisOptions::memory_ttl`.
//! - **Outage:** calls go on with what is in memory, then upstream; none waits longer than its two bounds, and none at all
//!   once Redis is known to be away. What cannot be written within five seconds is dropped and counted.
//! - [`Stats::entries`] and [`Stats::bytes`] are those of the memory in front.
//!
//! The repository's `docs/fleet.md` tells how to size and set up the server, and more of how it decides.
//!
//! # Feature flags
//!
//! None is on by default.
//!
//! | feature | what it adds |
//! |---|---|
//! | `file` | answers in a file, and memory in front of it |
//! | `redis` | answers in Redis, memory in front of it, and one payment per question in the whole fleet |
//! | `redis-cluster` | `redis+cluster://` |
//! | `redis-tls` | `rediss://` |
//! | `metrics` | the table above: counters, gauges and histograms through the `metrics` facade; with `redis` also those of `llm-redis` |
//! | `admin` | the program `llm-cache` |
//! | `at-rest` | how entries are written outside the process; the stores that need it switch it on |
//! | `fuzzing` | what fuzz targets and benchmarks reach for; not for use |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod build_error;
mod builder;
mod cache;
mod cache_if;
mod counts;
mod directive;
mod failure;
mod freshness;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[doc = include_str!("../docs/hit-rates.md")]
pub mod hit_rates {}
mod inner;
#[cfg(feature = "at-rest")]
mod inspect;
mod invalidation;
mod key;
mod keyed;
mod layer;
#[cfg(feature = "at-rest")]
mod migrate;
mod negative_cache;
mod open_store;
#[cfg(feature = "at-rest")]
mod partition;
mod path;
#[cfg(feature = "redis")]
mod redis_options;
mod service;
mod settings;
mod status;
#[cfg_attr(
    not(any(feature = "file", feature = "redis")),
    expect(dead_code, reason = "what stores outside the process need")
)]
#[cfg_attr(
    all(feature = "at-rest", not(any(feature = "file", feature = "redis"))),
    expect(unused_imports, reason = "what stores outside the process need")
)]
mod store;
mod tasks;
mod telemetry;
mod url;
mod variants;
mod verification;

pub use self::build_error::BuildError;
pub use self::builder::CacheBuilder;
pub use self::cache::{Cache, CallError, Resolved, Stats};
pub use self::directive::{Directive, DirectivePolicy};
pub use self::freshness::{Ttl, TtlRule};
pub use self::invalidation::Tag;
pub use self::key::Key;
pub use self::layer::CacheLayer;
#[cfg(feature = "redis")]
pub use self::redis_options::RedisOptions;
pub use self::service::Cached;
pub use self::settings::Background;
pub use self::status::{CacheStatus, Miss, ShadowStatus, Stale};
pub use self::store::{Policy, StoreError};
pub use self::url::{StoreUrl, UrlError};
pub use self::verification::{Mismatch, Verification};
#[cfg(feature = "at-rest")]
pub use self::{
    inspect::{Listing, StoredEntry},
    migrate::{MigrationReport, migrate},
    partition::Partition,
    store::{Cursor, EncryptionKeys, KeyRing, Secret},
};
pub use llm_core;
#[cfg(feature = "redis")]
pub use llm_redis;
