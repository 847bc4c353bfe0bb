//! What holds for every store: the same cases over each.
#![expect(clippy::unwrap_used, reason = "cases are tests, and so is what they are made of")]

mod asking;
mod entries;
mod invalidation;
mod pace;
mod renewal;
mod room;

use std::time::Duration;

use llm_cache::{Cache, CacheBuilder};
use llm_core::ManualClock;

use crate::{divided, items};

/// Somewhere to keep answers.
pub(crate) struct Place {
    pub(crate) clock: ManualClock,
    /// An address without a bound on its bytes.
    url: String,
    #[cfg(feature = "file")]
    _directory: Option<tempfile::TempDir>,
    #[cfg(feature = "redis")]
    redis: Option<Redis>,
}

/// A time that no busy machine takes.
#[cfg(feature = "redis")]
const PATIENCE: Duration = Duration::from_secs(60);

/// A connected Redis, and how long memory in front of it keeps answers.
#[cfg(feature = "redis")]
struct Redis {
    handle: llm_cache::llm_redis::Redis,
    memory_ttl: Duration,
}

impl Place {
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

    /// Memory that is gone soon in front of a file.
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

    /// A Redis that others use too, under other names. All that are open at it share its connection.
    #[cfg(feature = "redis")]
    pub(crate) async fn redis(url: &str, certificate: Option<&str>, prefix: &str) -> Self {
        let builder = llm_cache::llm_redis::Redis::builder(url).prefix(prefix).probe_timeout(PATIENCE);
        let mut builder = builder.call_timeout(PATIENCE).connect_timeout(PATIENCE);
        if let Some(certificate) = certificate {
            builder = builder.root_certificates(certificate);
        }
        let handle = builder.spawn().expect("the settings are right");
        handle.time().await.expect("it connects in time");
        Self { redis: Some(Redis { handle, memory_ttl: Duration::from_secs(10) }), ..Self::memory() }
    }

    /// With memory in front of Redis that keeps nothing for any time.
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

    /// With room for so many bytes.
    pub(crate) fn open_small(&self, max_bytes: u64) -> Cache {
        self.open_at(&format!("&max_bytes={max_bytes}"), |builder| builder)
    }

    fn open_at(&self, parameters: &str, set: impl FnOnce(CacheBuilder) -> CacheBuilder) -> Cache {
        let builder = Cache::builder("tests").ttl(Duration::from_secs(60)).clock(self.clock.clone());
        #[cfg(feature = "redis")]
        if let Some(Redis { handle, memory_ttl }) = &self.redis {
            let options = llm_cache::RedisOptions::from(handle.clone()).memory_ttl(*memory_ttl).claim_timeout(PATIENCE);
            return set(builder).redis(options).build().expect("the settings are right");
        }
        set(builder).open(&format!("{}{parameters}", self.url)).expect("the settings are right")
    }
}

/// A directory for temporary files: in memory, where there is such a place, for a disk takes its time over each commit.
#[cfg(feature = "file")]
fn directory() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    directory.expect("a directory for temporary files")
}

fn noon() -> ManualClock {
    ManualClock::at_unix(1_700_000_000)
}

/// Prints a case's name where it fails.
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

        /// All cases but those on how much is held, which is the server's to say, and on simulated time, which it has not.
        #[cfg(all(feature = "redis", unix))]
        pub(crate) async fn over_redis(place: impl AsyncFn(&str) -> Place) {
            let mut cases: Vec<futures_util::future::LocalBoxFuture<'_, ()>> = Vec::new();
            $($(
                let name = stringify!($case);
                if !["room", "pace"].contains(&stringify!($module)) {
                    let place = &place;
                    cases.push(Box::pin(async move { named(name, $module::$case(place(name).await)).await }));
                }
            )*)*
            futures_util::future::join_all(cases).await;
        }
    };
    (@over $place:ident: $($module:ident $case:ident)*) => {
        mod $place {
            use super::*;

            $(
                #[tokio::test(start_paused = true)]
                async fn $case() {
                    $module::$case(Place::$place()).await;
                }
            )*
        }
    };
}

conformance! {
    entries:
        a_week_passes_in_milliseconds
        an_entry_of_either_kind_serves_both
        tenants_models_namespaces_and_words_are_kept_apart
        envelope_and_transport_fields_do_not_part_equal_questions
        errors_are_not_remembered
        a_broken_or_forsaken_stream_leaves_no_entry
        a_hit_says_what_it_saved
        an_old_answer_serves_who_allows_it_and_who_gets_no_other
        a_call_can_keep_the_cache_out_renew_an_answer_or_want_no_other
        many_who_ask_at_once_make_one_call
        another_type_under_the_same_key_is_no_hit;
    asking:
        an_old_answer_is_served_while_one_call_replaces_it
        hits_wherever_they_lie_are_audited
        a_question_with_a_temperature_has_several_answers_in_turn
        what_a_vendor_refused_is_remembered_and_never_written
        whoever_only_observes_is_told_of_what_lies_anywhere
        whoever_only_observes_is_told_of_what_would_have_been_refused
        what_a_tenant_bought_for_a_scope_goes_with_him_and_not_with_his_namesake
        two_namespaces_over_one_store_share_its_room_and_no_answer
        odd_tenants_are_kept_apart_and_can_be_forgotten;
    invalidation:
        a_tenant_a_model_a_label_or_a_tag_is_dropped_at_once_and_nothing_else
        an_answer_whose_call_began_before_is_neither_joined_nor_stored
        a_running_stream_of_what_was_invalidated_ends_for_its_readers_alone
        what_was_invalidated_is_no_spare_either
        what_was_invalidated_is_not_served_to_who_takes_stale_answers
        a_forgotten_tenant_leaves_no_bytes_and_others_stay
        one_answer_can_be_dropped;
    divided:
        old_items_are_better_than_a_vendors_failure_and_are_marked;
    items:
        of_a_hundred_texts_of_which_97_are_known_three_are_asked
        duplicates_inside_a_request_are_asked_once_and_stand_in_both_places;
    pace:
        a_stream_takes_no_longer_through_the_cache;
    renewal:
        what_is_invalidated_while_a_call_fails_is_no_spare
        whoever_takes_only_what_is_stored_pays_for_nothing
        an_answer_too_old_for_its_caller_is_better_than_a_failure
        whoever_only_observes_is_told_that_an_answer_was_too_old;
    room:
        what_is_held_is_bounded_in_bytes_and_the_newest_stay
        an_answer_larger_than_all_room_is_not_stored
        what_is_past_its_time_makes_room;
}
