//! Tests of shadow mode: calls are sent unchanged, and replies report what the cache would have done.

use std::{sync::Arc, time::Duration};

use llm_cache::{Cache, CacheBuilder, CacheLayer, CacheStatus, Directive, Miss, ShadowStatus};
use llm_core::{Call, EmbedRequest, Error, ManualClock, Origin, Provider, into_provider};
use llm_providers::scripted::{Rule, Scripted};
use tower::ServiceBuilder;

use crate::upstream::{HEAD, Upstream, ask, say};

const HOUR: Duration = Duration::from_secs(3600);

fn observing(builder: CacheBuilder, upstream: &Scripted) -> (Cache, Arc<dyn Provider>) {
    let cache = builder.shadow().build().expect("the settings are right");
    let layers = ServiceBuilder::new().layer(CacheLayer::new(cache.clone()));
    (cache, into_provider(layers.service(upstream.clone())))
}

#[tokio::test(start_paused = true)]
async fn shadow_sends_every_call_and_reports_status() {
    let (upstream, clock) = (Scripted::new().rule(Rule::say("x").after(HEAD)), ManualClock::default());
    let (cache, provider) = observing(Cache::builder("t").ttl(HOUR).clock(clock.clone()), &upstream);
    let would = async |call| {
        let reply = provider.chat(call).await.unwrap();
        assert_eq!((reply.receipt.origin(), reply.output.text()), (Origin::Vendor, "x".into()));
        assert_eq!(CacheStatus::of(&reply), CacheStatus::Miss(Miss::Shadow));
        reply.extensions.get::<ShadowStatus>().unwrap().status
    };
    let hit = |age| CacheStatus::Hit { tier: "memory", age, stale: None };
    let (first, second) = tokio::join!(would(ask("a")), would(ask("a")));
    assert_eq!((first, second), (CacheStatus::Miss(Miss::Unknown), CacheStatus::Coalesced));
    clock.advance(HOUR / 2);
    assert_eq!(would(ask("a")).await, hit(HOUR / 2));
    let mut only = ask("b");
    only.extensions.insert(Directive::new().only_if_cached());
    assert_eq!(would(only).await, CacheStatus::Miss(Miss::Unknown), "even this one passes");
    let stream = provider.chat_stream(ask("c")).await.unwrap();
    assert_eq!(stream.extensions.get::<ShadowStatus>().unwrap().status, CacheStatus::Miss(Miss::Unknown));
    crate::upstream::read(stream.output).await.unwrap();
    assert_eq!(would(ask("c")).await, hit(Duration::ZERO));
    let stats = cache.stats();
    assert_eq!((upstream.calls(), stats.hits, stats.misses, stats.coalesced, stats.running), (6, 2, 3, 1, 0));

    let key = cache.key("acme", "own", "q").unwrap();
    for (n, hits) in [(1, 2), (2, 3)] {
        let resolved = cache.get_or_call(&key, move || async move { Ok::<_, Error>(n) }).await.unwrap();
        assert_eq!((*resolved.value, resolved.origin, cache.stats().hits), (n, Origin::Vendor, hits));
    }
}

#[tokio::test(start_paused = true)]
async fn shadow_reports_savings_and_items() {
    let clock = ManualClock::default();
    let cache = Cache::builder("t").shadow().clock(clock.clone()).build().unwrap();
    let upstream = Upstream::default();
    let provider = into_provider(llm_cache::Cached::new(crate::contract::priced(&upstream), cache.clone()));
    provider.chat(ask("a")).await.unwrap();
    let again = provider.chat(ask("a")).await.unwrap();
    let would = again.extensions.get::<ShadowStatus>().unwrap();
    assert_eq!((would.saves, again.receipt.saved()), (again.receipt.cost(), llm_core::Usd::ZERO));

    let embed = async |texts: &[&str]| {
        let reply = provider.embed(Call::new("acme", EmbedRequest::new("e", texts.iter().copied()))).await.unwrap();
        assert_eq!(reply.output.vectors.len(), texts.len());
        reply.extensions.get::<ShadowStatus>().unwrap().status
    };
    assert_eq!(embed(&["a", "b", "a"]).await, CacheStatus::Miss(Miss::Unknown));
    assert_eq!(embed(&["c", "b"]).await, CacheStatus::Miss(Miss::Items { sent: 1, stale: None }));
    assert!(matches!(embed(&["a", "b", "c"]).await, CacheStatus::Hit { .. }));
    assert_eq!((upstream.calls(), cache.stats().entries), (5, 4));
}

#[tokio::test(start_paused = true)]
async fn shadow_stores_nothing_of_abandoned_stream() {
    let upstream = Scripted::new().rule(Rule::say("x").after(HOUR));
    let (cache, provider) = observing(Cache::builder("t"), &upstream);
    assert!(tokio::time::timeout(HEAD, say(&*provider, "a", true)).await.is_err());
    assert_eq!((cache.stats().running, cache.stats().entries), (0, 0));
}
