//! What is stored, for whom, how long.

use std::time::Duration;

use futures_util::StreamExt;
use llm_core::{Call, Cause, ChatRequest, ErrorKind, ManualClock, Message, Origin, Usage, Usd};

use crate::upstream::{Upstream, ask, cache, provider, read};

fn age(origin: Origin) -> Option<Duration> {
    match origin {
        Origin::Cache { tier: "memory", age } => Some(age),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_week_passes_in_milliseconds() {
    let clock = ManualClock::at_unix(1_700_000_000);
    let week = Duration::from_secs(7 * 24 * 3600);
    let cache = llm_cache::Cache::builder("tests").ttl(week).clock(clock.clone()).build().unwrap();
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

#[tokio::test(start_paused = true)]
async fn an_entry_of_either_kind_serves_both() {
    for first_streamed in [false, true] {
        let upstream = Upstream::default();
        let cache = cache(&ManualClock::default());
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

#[tokio::test(start_paused = true)]
async fn tenants_models_namespaces_and_words_are_kept_apart() {
    let upstream = Upstream::default();
    let clock = ManualClock::default();
    let shared = cache(&clock);
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

#[tokio::test(start_paused = true)]
async fn envelope_and_transport_fields_do_not_part_equal_questions() {
    let upstream = Upstream::default();
    let provider = provider(&upstream, &cache(&ManualClock::default()));
    provider.chat(ask("a")).await.unwrap();
    let mut other = ask("a").with_label("feature", "x").unwrap().with_units(7);
    other.body.extra.insert("user", "u1");
    assert!(age(provider.chat(other).await.unwrap().receipt.origin()).is_some());
}

#[tokio::test(start_paused = true)]
async fn errors_are_not_remembered() {
    let upstream = Upstream::default();
    let cache = cache(&ManualClock::default());
    let provider = provider(&upstream, &cache);
    *upstream.fail.lock().unwrap() = Some(ErrorKind::Server);
    for streamed in [false, true] {
        let error = crate::upstream::say(&*provider, "a", streamed).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server);
    }
    *upstream.fail.lock().unwrap() = None;
    assert_eq!(cache.stats().entries, 0);
    assert_eq!(provider.chat(ask("a")).await.unwrap().receipt.origin(), Origin::Vendor);
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_broken_or_forsaken_stream_leaves_no_entry() {
    let cache = cache(&ManualClock::default());
    let broken = Upstream { break_after: Some(3), ..Upstream::default() };
    let error = crate::upstream::say(&*provider(&broken, &cache), "one two three", true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);

    let whole = Upstream::default();
    let mut stream = provider(&whole, &cache).chat_stream(ask("four five six")).await.unwrap().output;
    for _ in 0..3 {
        stream.next().await.unwrap().unwrap();
    }
    drop(stream);
    assert_eq!((cache.stats().entries, cache.stats().running), (0, 0));
    assert_eq!(whole.alive.load(std::sync::atomic::Ordering::SeqCst), 0, "the vendor's stream was closed");
}

#[tokio::test(start_paused = true)]
async fn a_hit_says_what_it_saved() {
    let upstream = Upstream::default();
    let cache = cache(&ManualClock::default());
    let service = crate::contract::priced(&upstream);
    let provider = llm_core::into_provider(llm_cache::Cached::new(service, cache));
    let first = provider.chat(ask("one two")).await.unwrap();
    let second = provider.chat(ask("one two")).await.unwrap();
    assert_eq!((first.receipt.cost(), first.receipt.saved()), (Some(Usd::from_nanos(7)), Usd::ZERO));
    assert_eq!((second.receipt.cost(), second.receipt.paid()), (Some(Usd::from_nanos(7)), Usd::ZERO));
    assert_eq!(second.receipt.facts().saved.of(Cause::CacheHit), Usd::from_nanos(7));
    assert!(second.receipt.facts().claim.is_none());
}
