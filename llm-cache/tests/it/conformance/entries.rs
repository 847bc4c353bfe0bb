//! Tests of entries in every store: keys, expiry, directives and errors.

use std::time::Duration;

use futures_util::StreamExt;
use llm_cache::{CacheStatus, Directive, DirectivePolicy, Stale};
use llm_core::{Call, Cause, ChatRequest, ErrorKind, Message, Origin, Usage, Usd};

use super::TestStore;
use crate::upstream::{Upstream, ask, provider, read};

fn age(origin: Origin) -> Option<Duration> {
    match origin {
        Origin::Cache { age, .. } => Some(age),
        _ => None,
    }
}

pub(crate) async fn ttl_expires_entry_after_a_week(store: TestStore) {
    let clock = &store.clock;
    let week = Duration::from_secs(7 * 24 * 3600);
    let cache = store.open_with(|builder| builder.ttl(week));
    let upstream = Upstream::default();
    let provider = provider(&upstream, &cache);
    let origin = async || provider.chat(ask("a question")).await.unwrap().receipt.origin();
    assert_eq!(origin().await, Origin::Vendor);
    clock.advance(week - Duration::from_micros(1));
    assert_eq!(age(origin().await), Some(week - Duration::from_micros(1)));
    clock.advance(Duration::from_micros(1));
    assert_eq!(origin().await, Origin::Vendor);
    assert_eq!(age(origin().await), Some(Duration::ZERO));
    clock.set_unix(Duration::from_secs(1));
    assert_eq!(origin().await, Origin::Vendor, "a clock that was set back prolongs no answer's life");
}

pub(crate) async fn stored_stream_serves_unary_calls(store: TestStore) {
    let cache = store.open();
    for first_streamed in [false, true] {
        cache.clear().await.unwrap();
        let upstream = Upstream::default();
        let provider = provider(&upstream, &cache);
        let say = crate::upstream::say;
        assert_eq!(say(&*provider, "to be or not", first_streamed).await.unwrap(), "to be or not");
        let unary = provider.chat(ask("to be or not")).await.unwrap();
        let streamed = provider.chat_stream(ask("to be or not")).await.unwrap();
        assert!(age(unary.receipt.origin()).is_some() && age(streamed.receipt.origin()).is_some());
        assert_eq!(unary.output.text(), "to be or not");
        assert_eq!(unary.receipt.usage(), Some(Usage::new(12, 4)));
        assert_eq!(streamed.receipt.usage(), Some(Usage::new(12, 4)), "known at the head of a replay");
        assert_eq!(read(streamed.output).await.unwrap(), ("to be or not".into(), Some(Usage::new(12, 4))));
        assert_eq!(upstream.calls(), 1);
    }
}

pub(crate) async fn tenants_models_and_namespaces_are_separate(store: TestStore) {
    let upstream = Upstream::default();
    let shared = store.open();
    let provider = provider(&upstream, &shared);
    let calls = [
        ask("a"),
        ask("b"),
        Call::new("umbrella", ChatRequest::new("m").user("a")),
        Call::new("acme", ChatRequest::new("m2").user("a")),
        Call::new("acme", ChatRequest::new("m").message(Message::assistant("a"))),
        Call::new("acme", ChatRequest::new("m").user("a").temperature(0.0)),
        Call::new("acmem", ChatRequest::new("").user("a")),
    ];
    for (n, call) in calls.iter().enumerate() {
        assert_eq!(provider.chat(call.clone()).await.unwrap().receipt.origin(), Origin::Vendor, "{n}");
    }
    for call in calls {
        assert!(age(provider.chat(call).await.unwrap().receipt.origin()).is_some());
    }
    assert_eq!((shared.stats().hits, shared.stats().misses), (7, 7));
    let key = |namespace: &str, tenant: &str| llm_cache::Key::of(namespace, tenant, "n", "q").unwrap();
    assert_ne!(key("a", "bc"), key("ab", "c"));
}

pub(crate) async fn key_ignores_envelope_and_transport_fields(store: TestStore) {
    let upstream = Upstream::default();
    let provider = provider(&upstream, &store.open());
    provider.chat(ask("a")).await.unwrap();
    let mut other = ask("a").with_label("feature", "x").unwrap().with_units(7);
    other.body.extra.insert("user", "u1");
    assert!(age(provider.chat(other).await.unwrap().receipt.origin()).is_some());
}

pub(crate) async fn errors_are_not_stored(store: TestStore) {
    let upstream = Upstream::default();
    let cache = store.open();
    let provider = provider(&upstream, &cache);
    *upstream.fail.lock().unwrap() = Some(ErrorKind::Server);
    for streamed in [false, true] {
        let error = crate::upstream::say(&*provider, "a", streamed).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server);
    }
    *upstream.fail.lock().unwrap() = None;
    cache.close().await.unwrap();
    assert_eq!(cache.stats().entries, 0);
    assert_eq!(provider.chat(ask("a")).await.unwrap().receipt.origin(), Origin::Vendor);
    assert_eq!(upstream.calls(), 3);
}

pub(crate) async fn broken_or_dropped_stream_leaves_no_entry(store: TestStore) {
    let cache = store.open();
    let broken = Upstream { break_after: Some(3), ..Upstream::default() };
    let error = crate::upstream::say(&*provider(&broken, &cache), "one two three", true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);

    let whole = Upstream::default();
    let mut stream = provider(&whole, &cache).chat_stream(ask("four five six")).await.unwrap().output;
    for _ in 0..3 {
        stream.next().await.unwrap().unwrap();
    }
    drop(stream);
    cache.close().await.unwrap();
    assert_eq!((cache.stats().entries, cache.stats().running), (0, 0));
    assert_eq!(whole.alive.load(std::sync::atomic::Ordering::SeqCst), 0, "the vendor's stream was closed");
}

pub(crate) async fn hit_reports_savings(store: TestStore) {
    let upstream = Upstream::default();
    let cache = store.open();
    let service = crate::contract::priced(&upstream);
    let provider = llm_core::into_provider(llm_cache::Cached::new(service, cache));
    let first = provider.chat(ask("one two")).await.unwrap();
    let second = provider.chat(ask("one two")).await.unwrap();
    assert_eq!((first.receipt.cost(), first.receipt.saved()), (Some(Usd::from_nanos(7)), Usd::ZERO));
    assert_eq!((second.receipt.cost(), second.receipt.paid().exact()), (Some(Usd::from_nanos(7)), Some(Usd::ZERO)));
    assert_eq!(second.receipt.accounting().saved.of(Cause::CacheHit), Usd::from_nanos(7));
    assert!(second.receipt.accounting().cost_share.is_none());
}

pub(crate) async fn max_stale_and_stale_if_error_serve_expired_entry(store: TestStore) {
    let (upstream, clock, hour) = (Upstream::default(), &store.clock, Duration::from_secs(3600));
    let cache = store.open_with(|builder| {
        builder.ttl(hour).stale_if_error(hour).directive_policy(DirectivePolicy::none().max_stale(hour))
    });
    let provider = provider(&upstream, &cache);
    let status = async |call| provider.chat(call).await.map(|reply| CacheStatus::of(&reply));
    status(ask("a")).await.unwrap();
    clock.advance(hour * 3 / 2);
    let allowed = status(wish(Directive::new().max_stale(hour))).await.unwrap();
    assert!(matches!(allowed, CacheStatus::Hit { stale: Some(Stale::Allowed), .. }), "{allowed:?}");
    *upstream.fail.lock().unwrap() = Some(ErrorKind::Overloaded);
    let spare = status(ask("a")).await.unwrap();
    assert!(matches!(spare, CacheStatus::Hit { stale: Some(Stale::Error), .. }), "{spare:?}");
    clock.advance(hour / 2);
    assert!(status(ask("a")).await.is_err(), "it is of no use to anybody any more");
}

pub(crate) async fn directives_no_store_no_cache_only_if_cached(store: TestStore) {
    let upstream = Upstream::default();
    let cache = store.open();
    let provider = provider(&upstream, &cache);
    let origin = async |directive| provider.chat(wish(directive)).await.map(|reply| reply.receipt.origin());
    let only = Directive::new().only_if_cached();
    assert_eq!(origin(only.clone()).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(origin(Directive::new().no_store()).await.unwrap(), Origin::Vendor);
    assert!(origin(only.clone()).await.is_err(), "nothing was stored");
    assert_eq!(origin(Directive::new().ttl(Duration::from_secs(5))).await.unwrap(), Origin::Vendor);
    store.clock.advance(Duration::from_secs(4));
    assert_eq!(age(origin(only.clone()).await.unwrap()), Some(Duration::from_secs(4)));
    assert_eq!(origin(Directive::new().max_age(Duration::from_secs(3))).await.unwrap(), Origin::Vendor);
    assert_eq!(origin(Directive::new().no_cache()).await.unwrap(), Origin::Vendor);
    assert_eq!(age(origin(only).await.unwrap()), Some(Duration::ZERO));
    assert_eq!(upstream.calls(), 4);
}

fn wish(directive: Directive) -> Call<ChatRequest> {
    let mut call = ask("a");
    call.extensions.insert(directive);
    call
}

pub(crate) async fn single_flight_coalesces_callers(store: TestStore) {
    let upstream = Upstream::default();
    let provider = provider(&upstream, &store.open());
    for _ in 0..2 {
        let responses = futures_util::future::join_all((0..50).map(|n| {
            let provider = provider.clone();
            async move { crate::upstream::say(&*provider, "a b c", n % 2 == 0).await }
        }));
        assert!(responses.await.into_iter().all(|response| response.unwrap() == "a b c"));
    }
    assert_eq!(upstream.calls(), 1);
}

pub(crate) async fn get_or_call_misses_other_type(store: TestStore) {
    let cache = store.open();
    let key = cache.key("acme", "op", "q").unwrap();
    for _ in 0..2 {
        cache.get_or_call(&key, || async { Ok::<_, std::io::Error>(1u64) }).await.unwrap();
        cache.close().await.unwrap();
        let text = cache.get_or_call(&key, || async { Ok::<_, std::io::Error>("one".to_owned()) }).await.unwrap();
        assert_eq!((text.value.as_str(), text.origin), ("one", Origin::Vendor));
        cache.close().await.unwrap();
    }
}
