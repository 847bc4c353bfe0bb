//! Test cases that every store must pass.
#![expect(clippy::unwrap_used, reason = "cases are tests, and so is what they are made of")]

mod entries;
mod invalidation;
mod max_bytes;
mod policies;
mod stale_if_error;
mod stream_pace;

use std::time::Duration;

use llm_cache::{Cache, CacheBuilder};
use llm_core::ManualClock;

use crate::{item_outcomes, items};

/// Store under test, with everything that must live as long as the store.
pub(crate) struct TestStore {
    pub(crate) clock: ManualClock,
    /// URL of the store, without a limit on its size.
    url: String,
    #[cfg(feature = "file")]
    _directory: Option<tempfile::TempDir>,
    #[cfg(feature = "redis")]
    redis: Option<Redis>,
}

/// Timeout that is long enough even on a busy machine.
#[cfg(feature = "redis")]
const TIMEOUT: Duration = Duration::from_secs(60);

/// Connected Redis, and the time for which the local tier keeps entries.
#[cfg(feature = "redis")]
struct Redis {
    handle: llm_cache::llm_redis::Redis,
    memory_ttl: Duration,
}

impl TestStore {
    pub(crate) fn memory() -> Self {
        Self {
            clock: noon(),
            url: "memory:?policy=lru".to_owned(),
            #[cfg(feature = "file")]
            _directory: None,
            #[cfg(feature = "redis")]
            redis: None,
        }
    }

    #[cfg(feature = "file")]
    pub(crate) fn file() -> Self {
        Self::in_file("")
    }

    /// Creates a file with a local tier in front that keeps entries only for a short time.
    #[cfg(feature = "file")]
    pub(crate) fn tiered() -> Self {
        Self::in_file("memory=1mb&memory_ttl=10s")
    }

    #[cfg(feature = "file")]
    fn in_file(parameters: &str) -> Self {
        let directory = directory();
        let path = directory.path().join("answers").display().to_string();
        Self { url: format!("file://{path}?{parameters}"), _directory: Some(directory), ..Self::memory() }
    }

    /// Creates a store in a Redis that other stores also use, under other prefixes. All caches that open it share its
    /// connection.
    #[cfg(feature = "redis")]
    pub(crate) async fn redis(url: &str, certificate: Option<&str>, prefix: &str) -> Self {
        let builder = llm_cache::llm_redis::Redis::builder(url).prefix(prefix).probe_timeout(TIMEOUT);
        let mut builder = builder.call_timeout(TIMEOUT).connect_timeout(TIMEOUT);
        if let Some(certificate) = certificate {
            builder = builder.root_certificates(certificate);
        }
        let handle = builder.spawn().expect("the settings are right");
        handle.time().await.expect("it connects in time");
        Self { redis: Some(Redis { handle, memory_ttl: Duration::from_secs(10) }), ..Self::memory() }
    }

    /// Makes the local tier in front of Redis keep no entries.
    #[cfg(feature = "redis")]
    pub(crate) fn without_memory(mut self) -> Self {
        if let Some(redis) = &mut self.redis {
            redis.memory_ttl = Duration::ZERO;
        }
        self
    }

    #[cfg(feature = "file")]
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn open(&self) -> Cache {
        self.open_with(|builder| builder)
    }

    pub(crate) fn open_with(&self, set: impl FnOnce(CacheBuilder) -> CacheBuilder) -> Cache {
        self.open_at("", set)
    }

    /// Opens a cache with this capacity.
    pub(crate) fn open_small(&self, max_bytes: u64) -> Cache {
        self.open_at(&format!("&max_bytes={max_bytes}"), |builder| builder)
    }

    fn open_at(&self, parameters: &str, set: impl FnOnce(CacheBuilder) -> CacheBuilder) -> Cache {
        let builder = Cache::builder("tests").ttl(Duration::from_secs(60)).clock(self.clock.clone());
        #[cfg(feature = "redis")]
        if let Some(Redis { handle, memory_ttl }) = &self.redis {
            // With a shorter bound, a process that waits for a processor finds nothing in Redis.
            let options = llm_cache::RedisOptions::from(handle.clone()).memory_ttl(*memory_ttl);
            let options = options.claim_timeout(TIMEOUT).invalidation_bound(TIMEOUT);
            return set(builder).redis(options).build().expect("the settings are right");
        }
        set(builder).open(&format!("{}{parameters}", self.url)).expect("the settings are right")
    }
}

/// Returns a directory for temporary files. It is in memory if possible, because a disk needs time for each commit.
#[cfg(feature = "file")]
fn directory() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    directory.expect("a directory for temporary files")
}

fn noon() -> ManualClock {
    ManualClock::at_unix(1_700_000_000)
}

/// Prints the name of a test case if it fails.
#[cfg(all(feature = "redis", unix))]
async fn named(name: &'static str, case: impl Future<Output = ()>) {
    use futures_util::FutureExt;
    if let Err(panic) = std::panic::AssertUnwindSafe(case).catch_unwind().await {
        eprintln!("the case {name} fails");
        std::panic::resume_unwind(panic);
    }
}

macro_rules! conformance {
    ($($module:ident: $($case:ident)*;)*) => {
        conformance!(@over memory: $($($module $case)*)*);
        #[cfg(feature = "file")]
        conformance!(@over file: $($($module $case)*)*);
        #[cfg(feature = "file")]
        conformance!(@over tiered: $($($module $case)*)*);

        /// Runs all cases except those on capacity, which the server decides, and on simulated time, which the server
        /// does not have.
        #[cfg(all(feature = "redis", unix))]
        pub(crate) async fn over_redis(store: impl AsyncFn(&str) -> TestStore) {
            let mut cases: Vec<futures_util::future::LocalBoxFuture<'_, ()>> = Vec::new();
            $($(
                let name = stringify!($case);
                if !["max_bytes", "stream_pace"].contains(&stringify!($module)) {
                    let store = &store;
                    cases.push(Box::pin(async move { named(name, $module::$case(store(name).await)).await }));
                }
            )*)*
            futures_util::future::join_all(cases).await;
        }
    };
    (@over $store:ident: $($module:ident $case:ident)*) => {
        mod $store {
            use super::*;

            $(
                #[tokio::test(start_paused = true)]
                async fn $case() {
                    $module::$case(TestStore::$store()).await;
                }
            )*
        }
    };
}

conformance! {
    entries:
        ttl_expires_entry_after_a_week
        stored_stream_serves_unary_calls
        tenants_models_and_namespaces_are_separate
        key_ignores_envelope_and_transport_fields
        errors_are_not_stored
        broken_or_dropped_stream_leaves_no_entry
        hit_reports_savings
        max_stale_and_stale_if_error_serve_expired_entry
        directives_no_store_no_cache_only_if_cached
        single_flight_coalesces_callers
        get_or_call_misses_other_type;
    policies:
        revalidate_serves_stale_entry_and_replaces_it
        verification_covers_every_tier
        variants_rotate_across_tiers
        negative_ttl_keeps_errors_in_memory_only
        shadow_reports_hits_of_every_tier
        shadow_reports_negative_hits
        forget_removes_shared_entries_of_paying_tenant
        share_store_with_separates_namespaces
        forget_handles_odd_tenant_names;
    invalidation:
        invalidate_drops_by_tenant_model_label_tag
        invalidate_bars_running_call
        invalidate_leaves_running_stream_to_readers
        invalidate_precedes_stale_if_error
        invalidate_precedes_max_stale
        forget_frees_bytes_of_one_tenant
        remove_drops_one_entry;
    item_outcomes:
        stale_if_error_serves_items_on_vendor_failure;
    items:
        embed_partial_hit_sends_missing_items
        items_duplicates_are_sent_once;
    stream_pace:
        stream_keeps_its_pace_through_cache;
    stale_if_error:
        stale_if_error_skips_entry_invalidated_meanwhile
        only_if_cached_sends_no_call
        stale_if_error_covers_max_age
        shadow_reports_too_old_entries;
    max_bytes:
        max_bytes_bounds_store_and_keeps_newest
        max_bytes_rejects_response_larger_than_store
        expired_entries_make_room;
}
