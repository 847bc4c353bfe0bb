//! Hostile settings, predicates, keys and files.
#![expect(clippy::unwrap_used, reason = "cases are tests, and so is what they are made of")]

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use futures_util::FutureExt;
use llm_cache::{Background, Cache, CacheStatus, Directive, DirectivePolicy, Tag, Ttl, Verification};
use llm_core::{Call, ChatRequest, ChatResponse, ManualClock, Origin};

use crate::upstream::{Upstream, ask, provider, say};

const HOUR: Duration = Duration::from_secs(3600);

fn wish(directive: Directive) -> Call<ChatRequest> {
    let mut call = ask("a");
    call.extensions.insert(directive);
    call
}

#[tokio::test(start_paused = true)]
async fn cache_if_panic_fails_its_callers_alone() {
    let cache = Cache::builder("t").cache_if(|response: &ChatResponse, _| {
        assert!(!response.text().contains("bad"), "as asked");
        true
    });
    let (cache, upstream) = (cache.build().unwrap(), Upstream::default());
    for streamed in [false, true] {
        for _ in 0..2 {
            let provider = provider(&upstream, &cache);
            say(&*provider, "bad", streamed).await.expect_err("the predicate panics");
            assert_eq!(cache.stats().running, 0);
        }
        let good = say(&*provider(&upstream, &cache), "good", streamed).await.unwrap();
        assert_eq!((good.as_str(), cache.stats().entries), ("good", 1));
    }
}

#[tokio::test(start_paused = true)]
async fn on_mismatch_panic_frees_background_slot() {
    let clock = ManualClock::default();
    let audit = Verification::percent(100).on_mismatch(|_| panic!("as asked"));
    let builder = Cache::builder("t").clock(clock.clone()).background(Background::new(1).verify(audit));
    let cache = builder.build().unwrap();
    let said = std::sync::atomic::AtomicU64::new(0);
    let rule = llm_providers::scripted::Rule::respond_with(move |request| {
        let part = llm_core::Part::text(said.fetch_add(1, std::sync::atomic::Ordering::SeqCst).to_string());
        let choice = llm_core::Choice::new(0, vec![part], llm_core::FinishReason::Stop);
        Ok(ChatResponse::new("id", request.model.clone(), vec![choice]))
    });
    let upstream = llm_providers::scripted::Scripted::new().rule(rule);
    let provider = llm_core::into_provider(llm_cache::Cached::new(upstream, cache.clone()));
    for _ in 0..4 {
        provider.chat(ask("a")).await.unwrap();
        cache.close().await.unwrap();
    }
    let stats = cache.stats();
    assert_eq!((stats.verified, stats.mismatched, stats.skipped, stats.running), (3, 3, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn ttl_extremes_neither_panic_nor_prolong() {
    for age in [Duration::ZERO, Duration::MAX] {
        let (clock, upstream) = (ManualClock::default(), Upstream::default());
        let builder = Cache::builder("t").ttl(Ttl::new(Duration::MAX).jitter(100)).stale_if_error(age);
        let builder = builder.background(Background::new(1).revalidate(age));
        let builder = builder.negative_ttl(age.max(Duration::from_nanos(1)));
        let policy = DirectivePolicy::none().max_stale(age).max_ttl(age);
        let cache = builder.directive_policy(policy).clock(clock.clone()).build().unwrap();
        let provider = provider(&upstream, &cache);
        for directive in [
            Directive::new().ttl(age).max_age(age).max_stale(age),
            Directive::new().max_age(Duration::ZERO),
            Directive::new().ttl(Duration::MAX),
        ] {
            provider.chat(wish(directive)).await.unwrap();
            clock.advance(HOUR);
        }
        cache.close().await.unwrap();
        clock.set_unix(Duration::ZERO);
        let reply = provider.chat(wish(Directive::new())).await.unwrap();
        assert_eq!(reply.receipt.origin(), Origin::Vendor, "the clock was set back before all that is stored");
    }
}

#[tokio::test(start_paused = true)]
async fn tag_each_of_ten_thousand_invalidates_entry() {
    let (upstream, cache) = (Upstream::default(), Cache::builder("t").build().unwrap());
    let provider = provider(&upstream, &cache);
    let directive = (0..10_000).fold(Directive::new(), |all, n| all.tag(Tag::named(&n.to_string())));
    for tag in ["0", "9999"] {
        provider.chat(wish(directive.clone())).await.unwrap();
        assert!(matches!(CacheStatus::of(&provider.chat(ask("a")).await.unwrap()), CacheStatus::Hit { .. }));
        cache.invalidate(Tag::named(tag)).await.unwrap();
    }
    provider.chat(ask("a")).await.unwrap();
    assert_eq!(upstream.calls(), 3);
}

#[cfg(feature = "file")]
mod file {
    use llm_cache::{EncryptionKeys, KeyRing, Partition, Secret};

    use super::*;
    use crate::conformance::TestStore;

    async fn put(cache: &Cache, n: u32) {
        let key = cache.key("acme", "op", &n).unwrap();
        cache.get_or_call(&key, move || async move { Ok::<_, io::Error>(n) }).await.unwrap();
    }

    async fn has(cache: &Cache, n: u32) -> bool {
        let key = cache.key("acme", "op", &n).unwrap();
        let found = cache.get_or_call(&key, || async { Err::<u32, _>(io::Error::other("not asked")) }).await;
        found.is_ok_and(|found| *found.value == n)
    }

    #[test]
    fn runtime_is_optional_and_may_end_first() {
        let store = TestStore::tiered();
        let cache = store.open();
        put(&cache, 1).now_or_never().expect("nothing is waited for in a task");
        cache.close().now_or_never().unwrap().unwrap();
        for n in 2..4 {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                put(&cache, n).await;
                cache.close().await.unwrap();
            });
        }
        for n in 1..4 {
            assert!(has(&cache, n).now_or_never().unwrap());
        }
        drop(cache);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let cache = store.open();
            assert!(has(&cache, 3).await);
            drop(cache);
            store.open();
        });
    }

    #[tokio::test(start_paused = true)]
    async fn file_removed_while_open_still_serves() {
        let store = TestStore::file();
        let path = store.url().trim_start_matches("file://").trim_end_matches('?');
        let cache = store.open();
        put(&cache, 1).await;
        cache.close().await.unwrap();
        std::fs::remove_file(path).unwrap();
        put(&cache, 2).await;
        cache.close().await.unwrap();
        assert!(has(&cache, 1).await && has(&cache, 2).await);
        let next = store.open();
        assert!(!has(&next, 1).await);
        put(&next, 3).await;
        assert!(has(&next, 3).await && !has(&cache, 3).await);
    }

    #[tokio::test(start_paused = true)]
    async fn file_url_of_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display().to_string();
        for (store, reason) in [(path.clone(), "cannot be opened"), ("/dev/null".to_owned(), "/dev/null")] {
            let error = Cache::builder("t").open(&format!("file://{store}")).unwrap_err().to_string();
            assert!(error.contains(&store) && error.contains(reason), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn close_does_not_delay_readers() {
        let store = TestStore::file();
        let cache = store.open();
        put(&cache, 1).await;
        cache.close().await.unwrap();
        // This is more than the number of threads of either kind.
        let closing: Vec<_> = (0..100).map(|_| cache.clone()).collect();
        let closing = closing.iter().map(Cache::close);
        let reading = futures_util::future::join_all((0..100).map(|_| has(&cache, 1)));
        let (closed, read) = tokio::join!(futures_util::future::join_all(closing), reading);
        assert!(closed.into_iter().all(|closed| closed.is_ok()) && read.into_iter().all(|found| found));
    }

    #[tokio::test(start_paused = true)]
    async fn max_bytes_too_small_counts_dropped_writes() {
        let store = TestStore::file();
        let cache = store.open_small(1_024);
        let key = cache.key("acme", "op", "q").unwrap();
        let numbers =
            || async { Ok::<_, io::Error>((0..2_000u64).map(|n| n * n * 7_919 % 65_537).collect::<Vec<_>>()) };
        cache.get_or_call(&key, numbers).await.unwrap();
        cache.close().await.unwrap();
        assert_eq!((cache.stats().dropped_writes, cache.stats().entries), (1, 0));
    }

    /// Encryption keys that panic for one tenant.
    #[derive(Debug)]
    struct Brittle(KeyRing);

    impl EncryptionKeys for Brittle {
        fn key(&self, owner: &Partition) -> Option<Secret> {
            assert_ne!(*owner, Partition::tenant("bad"), "as asked");
            self.0.key(owner)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn encryption_keys_panic_fails_one_tenant() {
        let (store, keys) = (TestStore::file(), KeyRing::new());
        keys.insert(Partition::tenant("acme"), Secret::new([1; 32]));
        let cache = store.open_with(|builder| builder.encryption_keys(Brittle(keys)));
        for _ in 0..2 {
            let bad = cache.key("bad", "op", "q").unwrap();
            let call = cache.get_or_call(&bad, || async { Ok::<_, io::Error>(1u32) });
            assert!(call.await.is_err_and(|error| error.message().contains("panicked")));
            put(&cache, 1).await;
            cache.close().await.unwrap();
            assert!(has(&cache, 1).await);
        }
        assert_eq!((cache.stats().running, cache.stats().entries), (0, 1));
        assert!(catch_unwind(AssertUnwindSafe(|| drop(cache))).is_ok());
    }
}
