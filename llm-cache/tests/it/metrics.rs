//! Tests of the cache's metrics.

use std::collections::HashMap;

use llm_cache::Cache;
use llm_core::into_provider;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use crate::{
    contract::priced,
    upstream::{Upstream, ask},
};

/// Values by namespace of the cache, name and tier. For a histogram, the number of recorded values.
struct Recorded(HashMap<[String; 3], u64>);

impl Recorded {
    /// Makes calls, and returns what a recorder received.
    fn by(calls: impl Future<Output = ()>) -> Self {
        let recorder = DebuggingRecorder::new();
        let snapshots = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.expect("a runtime").block_on(calls);
        });
        let number = |value| match value {
            DebugValue::Counter(count) => count,
            DebugValue::Gauge(size) => size.0 as u64,
            DebugValue::Histogram(values) => values.len() as u64,
        };
        let all = snapshots.snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
            let label = |wanted| key.key().labels().find(|label| label.key() == wanted).map(|label| label.value());
            let cache = label("cache").expect("each has its cache's name").to_owned();
            let tier = label("tier").unwrap_or_default().to_owned();
            ([cache, key.key().name().to_owned(), tier], number(value))
        });
        Self(all.collect())
    }

    fn number(&self, cache: &str, name: &str) -> u64 {
        self.of_tier(cache, name, "")
    }

    fn of_tier(&self, cache: &str, name: &str, tier: &str) -> u64 {
        let name = format!("llm_cache_{name}");
        let known = self.0.get(&[cache.to_owned(), name.clone(), tier.to_owned()]);
        *known.unwrap_or_else(|| panic!("{name} was not recorded"))
    }
}

#[test]
fn metrics_record_entries_bytes_and_evictions() {
    let mut stats = None;
    let recorded = Recorded::by(async {
        let upstream = Upstream::default();
        let cache = Cache::builder("mine").max_bytes(5_000).build().unwrap();
        let provider = into_provider(llm_cache::Cached::new(priced(&upstream), cache.clone()));
        for n in [0, 0, 1, 2, 3, 4, 5] {
            provider.chat(ask(&n.to_string())).await.unwrap();
        }
        stats = Some(cache.stats());
    });
    let (stats, number) = (stats.unwrap(), |name| recorded.number("mine", name));
    assert!(stats.hits == 1 && stats.evictions > 0, "{stats:?}");
    assert_eq!((number("entries"), number("bytes")), (stats.entries, stats.bytes));
    assert_eq!((number("evictions_total"), number("saved_nano_usd_total")), (stats.evictions, 7));
    assert!(recorded.of_tier("mine", "lookup_seconds", "memory") >= 7);
}

#[cfg(feature = "file")]
mod file {
    #![expect(clippy::unwrap_used, reason = "cases are tests, and so is what they are made of")]

    use std::{fs::OpenOptions, time::Duration};

    use llm_cache::{Background, CacheLayer, Cached, Directive, Stats, Verification};
    use llm_core::{Call, ChatRequest, ChatResponse, Choice, ErrorKind, FinishReason, Part};
    use llm_providers::scripted::{Rule, Scripted};
    use tower::Layer;

    use super::*;
    use crate::{conformance::TestStore, upstream::HEAD};

    const MINUTE: Duration = Duration::from_secs(60);

    fn wish(text: &str, directive: Directive) -> Call<ChatRequest> {
        let mut call = ask(text);
        call.extensions.insert(directive);
        call
    }

    /// Causes every event that is counted, except verifications and failures of the store.
    async fn live() -> Stats {
        let (store, upstream) = (TestStore::tiered(), Upstream::default());
        let cache = store.open_with(|builder| {
            let background = Background::new(1).revalidate(60 * MINUTE).complete_on_disconnect();
            builder.background(background).negative_ttl(MINUTE)
        });
        let provider = into_provider(Cached::new(priced(&upstream), cache.clone()));
        let (led, joined) = tokio::join!(provider.chat(ask("a")), provider.chat(ask("a")));
        assert!(led.is_ok() && joined.is_ok());
        provider.chat(ask("b")).await.unwrap();
        cache.close().await.unwrap();
        store.clock.advance(MINUTE / 3);
        provider.chat(ask("a")).await.unwrap();
        provider.chat(ask("a")).await.unwrap();
        provider.chat(wish("a", Directive::new().no_store())).await.unwrap();
        provider.chat(wish("a", Directive::new().no_cache())).await.unwrap();
        cache.close().await.unwrap();
        store.clock.advance(2 * MINUTE);
        provider.chat(ask("a")).await.unwrap();
        provider.chat(ask("b")).await.unwrap();
        cache.close().await.unwrap();
        assert!(tokio::time::timeout(HEAD / 2, provider.chat(ask("c"))).await.is_err());
        cache.close().await.unwrap();
        *upstream.fail.lock().unwrap() = Some(ErrorKind::InvalidRequest);
        for _ in 0..2 {
            provider.chat(ask("d")).await.unwrap_err();
        }
        cache.stats()
    }

    /// Sends requests to a vendor that always answers differently, with verification of hits.
    async fn audited() -> Stats {
        let cache = Cache::builder("audited")
            .background(Background::new(1).verify(Verification::percent(100)))
            .build()
            .unwrap();
        let said = std::sync::atomic::AtomicU64::new(0);
        let upstream = Scripted::new().rule(Rule::respond_with(move |request| {
            let number = said.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let choice = Choice::new(0, vec![Part::text(number.to_string())], FinishReason::Stop);
            Ok(ChatResponse::new("id", request.model.clone(), vec![choice]))
        }));
        let provider = into_provider(CacheLayer::new(cache.clone()).layer(upstream));
        for _ in 0..3 {
            provider.chat(ask("a")).await.unwrap();
            cache.close().await.unwrap();
        }
        cache.stats()
    }

    /// Reads a file that is truncated after it was opened.
    async fn failing() -> Stats {
        let (store, upstream) = (TestStore::file(), Upstream::default());
        let open = |name| Cache::builder(name).clock(store.clock.clone()).open(store.url()).unwrap();
        into_provider(Cached::new(priced(&upstream), open("whole"))).chat(ask("a")).await.unwrap();
        let cache = open("failing");
        let path = store.url().trim_start_matches("file://").trim_end_matches('?');
        OpenOptions::new().write(true).open(path).unwrap().set_len(4096).unwrap();
        let provider = into_provider(Cached::new(priced(&upstream), cache.clone()));
        provider.chat(wish("a", Directive::new().only_if_cached())).await.unwrap_err();
        cache.stats()
    }

    #[test]
    fn metrics_agree_with_stats() {
        let mut caches = Vec::new();
        let recorded = Recorded::by(async {
            caches.push(("tests", live().await));
            caches.push(("audited", audited().await));
            caches.push(("failing", failing().await));
        });
        let mut most = [0; 15];
        for (cache, stats) in &caches {
            let counts = [
                ("hits_total", stats.hits),
                ("remote_hits_total", stats.remote_hits),
                ("stale_total", stats.stale),
                ("misses_total", stats.misses),
                ("bypassed_total", stats.bypassed),
                ("coalesced_total", stats.coalesced),
                ("negative_hits_total", stats.negative_hits),
                ("stored_total", stats.stored),
                ("store_errors_total", stats.store_errors),
                ("revalidated_total", stats.revalidated),
                ("skipped_total", stats.skipped),
                ("detached_total", stats.detached),
                ("verified_total", stats.verified),
                ("mismatched_total", stats.mismatched),
                ("saved_nano_usd_total", stats.saved.nanos().unsigned_abs()),
            ];
            for ((name, count), most) in counts.iter().zip(&mut most) {
                assert_eq!(recorded.number(cache, name), *count, "{name} of {cache}: {stats:?}");
                *most = (*most).max(*count);
            }
        }
        assert!(most.iter().all(|count| *count > 0), "each was counted: {most:?}");
        let (live, looked) = (&caches[0].1, |tier| recorded.of_tier("tests", "lookup_seconds", tier));
        assert!(live.hits > live.remote_hits && live.hits > live.stale, "{live:?}");
        assert!(looked("memory") >= looked("remote") && looked("remote") >= live.remote_hits, "{live:?}");
    }
}
