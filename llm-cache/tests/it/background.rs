//! Tests of background calls: revalidation, verification and completion of detached calls.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use llm_cache::{
    Background, BuildError, Cache, CacheBuilder, CacheLayer, CacheStatus, Directive, DirectivePolicy, Stale, Tag,
    Verification,
};
use llm_core::{
    Call, ChatRequest, ChatResponse, ChatStream, EmbedRequest, Embeddings, Error, ErrorKind, ManualClock, Origin,
    Priority, Provider, Reply, into_provider, into_service, layer::Purpose,
};
use llm_providers::{Ledger, ledger::Waste};
use tokio::time::{Instant, sleep};
use tower::ServiceBuilder;

use crate::upstream::{HEAD, STEP, Upstream, ask, prices, provider, read, say};

const HOUR: Duration = Duration::from_secs(3600);

/// Returns the settings of a cache whose entries are fresh for an hour, and are revalidated in the background for
/// another hour.
fn builder(clock: &ManualClock, background: Background) -> CacheBuilder {
    Cache::builder("tests").ttl(HOUR).background(background.revalidate(HOUR)).clock(clock.clone())
}

fn cache(clock: &ManualClock, max_calls: u32) -> Cache {
    builder(clock, Background::new(max_calls)).build().expect("the settings are right")
}

fn status<O>(reply: &Reply<O>) -> Option<Stale> {
    match CacheStatus::of(reply) {
        CacheStatus::Hit { stale, .. } => stale,
        _ => None,
    }
}

/// Service that keeps a copy of each call.
#[derive(Clone, Default)]
struct Kept(Upstream, Arc<Mutex<Vec<Call<()>>>>);

impl Kept {
    fn keep<T>(&self, call: &Call<T>)
    where
        T: Clone,
    {
        self.1.lock().expect("no test panics holding it").push(call.clone().map(|_| ()));
    }
}

#[async_trait::async_trait]
impl Provider for Kept {
    async fn chat(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        self.keep(&call);
        self.0.chat(call).await
    }
    async fn chat_stream(&self, call: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        self.keep(&call);
        self.0.chat_stream(call).await
    }
    async fn embed(&self, call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        self.keep(&call);
        self.0.embed(call).await
    }
}

#[tokio::test(start_paused = true)]
async fn revalidate_serves_stale_and_calls_once() {
    for streamed in [false, true] {
        let (upstream, clock) = (Kept::default(), ManualClock::default());
        let cache = cache(&clock, 8);
        let layer = CacheLayer::new(cache.clone());
        let provider =
            into_provider(ServiceBuilder::new().layer(layer).service(into_service(Arc::new(upstream.clone()))));
        let deadline = (Instant::now() + 9 * HOUR).into_std();
        let call = || ask("a b").with_units(7).with_deadline(deadline).with_label("feature", "x").expect("short");
        provider.chat(call()).await.unwrap();
        clock.advance(HOUR);

        let started = Instant::now();
        let mut readers = Vec::new();
        for _ in 0..1_000 {
            readers.push(if streamed {
                let reply = provider.chat_stream(call()).await.unwrap();
                (status(&reply), read(reply.output).await.unwrap().0)
            } else {
                let reply = provider.chat(call()).await.unwrap();
                (status(&reply), reply.output.text().into_owned())
            });
        }
        assert!(readers.iter().all(|reader| *reader == (Some(Stale::Revalidating), "a b".into())));
        assert_eq!(started.elapsed(), Duration::ZERO, "nobody waited");
        cache.close().await.unwrap();
        assert_eq!(status(&provider.chat(call()).await.unwrap()), None, "it is fresh again");
        let stats = cache.stats();
        assert_eq!((upstream.0.calls(), stats.revalidated, stats.skipped, stats.running), (2, 1, 0, 0));

        let calls = upstream.1.lock().unwrap();
        let refresh = &calls[1];
        assert_eq!((&*refresh.tenant, refresh.priority, refresh.units), ("acme", Priority::Background, 0));
        assert_eq!((refresh.deadline, refresh.labels.get("feature")), (None, Some("x")));
        assert_eq!(refresh.extensions.get(), Some(&Purpose::Revalidation));
    }
}

#[tokio::test(start_paused = true)]
async fn revalidate_shared_entry_once_for_two_tenants() {
    let (upstream, clock) = (Kept::default(), ManualClock::default());
    let policy = DirectivePolicy::none().allow_sharing();
    let cache = builder(&clock, Background::new(8)).directive_policy(policy).build().unwrap();
    let layer = CacheLayer::new(cache.clone());
    let provider = into_provider(ServiceBuilder::new().layer(layer).service(into_service(Arc::new(upstream.clone()))));
    let read_by = async |tenant: &str| {
        let mut call = Call::new(tenant, ask("a").body);
        call.extensions.insert(Directive::new().shared("s"));
        status(&provider.chat(call).await.unwrap())
    };
    read_by("acme").await;
    clock.advance(HOUR);
    let read = tokio::join!(read_by("umbrella"), read_by("acme"));
    assert_eq!(read, (Some(Stale::Revalidating), Some(Stale::Revalidating)));
    cache.close().await.unwrap();
    let paid: Vec<_> = upstream.1.lock().unwrap().iter().map(|call| call.tenant.to_string()).collect();
    assert_eq!((cache.stats().revalidated, paid), (1, vec!["acme".to_owned(), "umbrella".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn background_limit_skips_and_counts_revalidations() {
    let (upstream, clock) = (Upstream::default(), ManualClock::default());
    let cache = cache(&clock, 2);
    let provider = provider(&upstream, &cache);
    let all = || join_all((0..5).map(|n| say(&*provider, ["a", "b", "c", "d", "e"][n], false)));
    all().await;
    clock.advance(HOUR);
    all().await;
    tokio::task::yield_now().await;
    assert_eq!(upstream.alive.load(Ordering::SeqCst), 2);
    cache.close().await.unwrap();
    assert_eq!((cache.stats().revalidated, cache.stats().skipped, upstream.calls()), (2, 3, 7));
}

#[tokio::test(start_paused = true)]
async fn revalidate_pauses_after_vendor_failure() {
    let (upstream, clock) = (Upstream::default(), ManualClock::default());
    let cache = cache(&clock, 4);
    let provider = provider(&upstream, &cache);
    say(&*provider, "a", false).await.unwrap();
    clock.advance(HOUR);
    *upstream.fail.lock().unwrap() = Some(ErrorKind::Server);
    for _ in 0..100 {
        assert_eq!(say(&*provider, "a", false).await.unwrap(), "a");
        sleep(Duration::from_millis(100)).await;
    }
    assert!((9..=11).contains(&upstream.calls()), "{} calls in ten seconds", upstream.calls());
}

#[tokio::test(start_paused = true)]
async fn invalidate_during_revalidation_serves_and_stores_nothing() {
    let (upstream, clock) = (Upstream::default(), ManualClock::default());
    let cache = cache(&clock, 4);
    let provider = provider(&upstream, &cache);
    provider.chat(ask("a")).await.unwrap();
    clock.advance(HOUR);
    assert_eq!(status(&provider.chat(ask("a")).await.unwrap()), Some(Stale::Revalidating));
    tokio::task::yield_now().await;
    cache.invalidate(Tag::tenant("acme")).await.unwrap();
    cache.close().await.unwrap();
    assert_eq!((upstream.calls(), cache.stats().stored), (2, 1));
    assert_eq!(provider.chat(ask("a")).await.unwrap().receipt.origin(), Origin::Vendor);
}

#[tokio::test(start_paused = true)]
async fn max_age_call_waits_instead_of_revalidating() {
    let (upstream, clock) = (Upstream::default(), ManualClock::default());
    let provider = provider(&upstream, &cache(&clock, 4));
    provider.chat(ask("a")).await.unwrap();
    clock.advance(HOUR);
    let mut call = ask("a");
    call.extensions.insert(Directive::new().max_age(2 * HOUR));
    assert_eq!(provider.chat(call).await.unwrap().receipt.origin(), Origin::Vendor);
}

#[tokio::test(start_paused = true)]
async fn revalidate_replaces_stale_items_with_one_call() {
    let (upstream, clock) = (Upstream::default(), ManualClock::default());
    let cache = cache(&clock, 1);
    let provider = provider(&upstream, &cache);
    let texts = |texts: &[&str]| Call::new("acme", EmbedRequest::new("e", texts.iter().copied()));
    provider.embed(texts(&["a", "b", "c"])).await.unwrap();
    clock.advance(HOUR);
    let started = Instant::now();
    for _ in 0..3 {
        let reply = provider.embed(texts(&["c", "a", "b", "a"])).await.unwrap();
        assert_eq!((status(&reply), reply.output.vectors[0][0]), (Some(Stale::Revalidating), 2.0));
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    cache.close().await.unwrap();
    let stats = cache.stats();
    assert_eq!((upstream.calls(), stats.revalidated, stats.skipped, stats.stale), (2, 1, 0, 3));
}

#[tokio::test(start_paused = true)]
async fn background_spending_is_overhead_in_balanced_ledger() {
    let (upstream, clock) = (Upstream::default(), ManualClock::default());
    let ledger = Ledger::new(prices());
    let audit = Verification::percent(100);
    let cache = builder(&clock, Background::new(4).verify(audit)).build().unwrap();
    let layers = ServiceBuilder::new().layer(ledger.requests()).layer(CacheLayer::new(cache.clone()));
    let provider = into_provider(layers.layer(ledger.attempts()).service(into_service(Arc::new(upstream))));
    let call = || Call::new("acme", ChatRequest::new("gpt-4o-mini").user("a b c"));
    let one = provider.chat(call()).await.unwrap().receipt.paid().exact().unwrap();
    clock.advance(HOUR);
    provider.chat(call()).await.unwrap();
    cache.close().await.unwrap();
    provider.chat(call()).await.unwrap();
    cache.close().await.unwrap();
    let books = ledger.snapshot();
    let wasted = &books.total().wasted;
    assert_eq!((wasted.of(Waste::Revalidated), wasted.of(Waste::Verified)), (one, one), "{books}");
    assert_eq!(wasted.of(Waste::Abandoned).nanos(), 0);
    assert_eq!(books.total().units, 3);
    assert!(books.balance().is_balanced(), "{books}");
    assert_eq!(cache.stats().saved, one + one);
}

#[tokio::test(start_paused = true)]
async fn complete_on_disconnect_admits_later_callers() {
    for streamed in [false, true] {
        // The callers leave before the head of the response, and in the middle of the stream.
        for leave in [HEAD / 2, HEAD + STEP * 5 / 2] {
            let upstream = Upstream::default();
            let cache = Cache::builder("t").background(Background::new(1).complete_on_disconnect()).build().unwrap();
            let provider = provider(&upstream, &cache);
            let call = join_all((0..3).map(|_| say(&*provider, "a b c d", true)));
            assert!(tokio::time::timeout(leave, call).await.is_err());
            tokio::task::yield_now().await;
            assert_eq!(upstream.alive.load(Ordering::SeqCst), 1, "it goes on");
            assert_eq!(say(&*provider, "a b c d", streamed).await.unwrap(), "a b c d");
            cache.close().await.unwrap();
            let stats = cache.stats();
            assert_eq!((upstream.calls(), stats.detached, stats.entries), (1, 1, 1));
            assert_eq!((upstream.alive.load(Ordering::SeqCst), stats.running), (0, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn complete_on_disconnect_respects_background_limit() {
    let upstream = Upstream::default();
    let cache = Cache::builder("t").background(Background::new(1).complete_on_disconnect()).build().unwrap();
    let provider = provider(&upstream, &cache);
    let texts = |texts: &[&str]| Call::new("acme", EmbedRequest::new("e", texts.iter().copied()));
    let items = tokio::time::timeout(HEAD / 2, provider.embed(texts(&["a", "b", "c"])));
    assert!(items.await.is_err());
    assert!(tokio::time::timeout(HEAD / 4, say(&*provider, "x", false)).await.is_err());
    assert_eq!(upstream.alive.load(Ordering::SeqCst), 1, "three items are one call, and take one place");
    cache.close().await.unwrap();
    let stats = cache.stats();
    assert_eq!((stats.detached, stats.skipped, stats.entries, stats.running), (1, 1, 3, 0));
    assert!(matches!(provider.embed(texts(&["b"])).await.unwrap().receipt.origin(), Origin::Cache { .. }));
}

#[tokio::test(start_paused = true)]
async fn complete_on_disconnect_ignores_callers_that_stay() {
    let upstream = Upstream::default();
    let cache = Cache::builder("t").background(Background::new(1).complete_on_disconnect()).build().unwrap();
    let provider = provider(&upstream, &cache);
    for streamed in [false, true] {
        for text in ["a b", "c d"] {
            say(&*provider, text, streamed).await.unwrap();
        }
    }
    *upstream.fail.lock().unwrap() = Some(ErrorKind::Server);
    say(&*provider, "e f", true).await.unwrap_err();
    assert_eq!((cache.stats().detached, cache.stats().skipped, cache.stats().running), (0, 0, 0));
}

/// Returns a cache over a vendor whose responses always have a new id, and a new text whenever `texts` changes.
fn changing(audit: Verification) -> (Cache, Arc<Mutex<&'static str>>, Arc<dyn Provider>) {
    let text = Arc::new(Mutex::new("old"));
    let (said, ids) = (Arc::clone(&text), std::sync::atomic::AtomicU64::new(0));
    let rule = llm_providers::scripted::Rule::respond_with(move |request| {
        let id = ids.fetch_add(1, Ordering::SeqCst).to_string();
        let part = llm_core::Part::text(*said.lock().expect("no test panics holding it"));
        let choice = llm_core::Choice::new(0, vec![part], llm_core::FinishReason::Stop);
        Ok(ChatResponse::new(id, request.model.clone(), vec![choice]))
    });
    let cache =
        Cache::builder("t").background(Background::new(4).verify(audit)).build().expect("the settings are right");
    let upstream = llm_providers::scripted::Scripted::new().rule(rule);
    let provider = into_provider(ServiceBuilder::new().layer(CacheLayer::new(cache.clone())).service(upstream));
    (cache, text, provider)
}

#[tokio::test(start_paused = true)]
async fn verification_reports_mismatch_and_serves_hit() {
    let mismatches = Arc::new(Mutex::new(Vec::new()));
    let audit = Verification::percent(100).on_mismatch({
        let mismatches = Arc::clone(&mismatches);
        move |mismatch| mismatches.lock().expect("no test panics holding it").push(mismatch.clone())
    });
    let (cache, text, provider) = changing(audit);
    let said = async || {
        let said = provider.chat(ask("q")).await.unwrap().output.text().into_owned();
        cache.close().await.unwrap();
        said
    };
    assert_eq!((said().await, said().await), ("old".into(), "old".into()));
    assert_eq!((cache.stats().verified, cache.stats().mismatched), (1, 0), "another id is no other answer");
    *text.lock().unwrap() = "new";
    assert_eq!((said().await, said().await), ("old".into(), "new".into()));
    assert_eq!((cache.stats().verified, cache.stats().mismatched), (3, 1));
    let mismatches = mismatches.lock().unwrap();
    assert_eq!(
        (mismatches.len(), mismatches[0].operation, &*mismatches[0].model, &*mismatches[0].tenant),
        (1, "chat", "m", "acme")
    );
}

#[tokio::test(start_paused = true)]
async fn verification_samples_share_of_hits() {
    let (cache, _, provider) = changing(Verification::percent(20).seed(7));
    for _ in 0..1_000 {
        provider.chat(ask("q")).await.unwrap();
        cache.close().await.unwrap();
    }
    let audited = cache.stats().verified;
    assert!((160..240).contains(&audited), "{audited} of 1,000");
}

#[test]
fn background_invalid_settings_are_build_errors() {
    let build = |background| Cache::builder("t").background(background).build().map(drop).unwrap_err();
    assert_eq!(build(Background::new(0).complete_on_disconnect()), BuildError::Background);
    assert_eq!(build(Background::new(1).verify(Verification::percent(101))), BuildError::Verification);
    assert_eq!(build(Background::new(1)), BuildError::Runtime);
}
