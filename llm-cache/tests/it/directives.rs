//! Tests of the directives of calls, and of the policy that limits them.

use std::time::Duration;

use llm_cache::{Cache, CacheStatus, Directive, DirectivePolicy, Miss, Stale};
use llm_core::{Call, ChatRequest, ChatResponse, ErrorKind, ManualClock, Message, Origin, Part, Priority, Role, Tool};
use tokio::time::Instant;

use crate::upstream::{HEAD, STEP, Upstream, ask, provider, read};

const HOUR: Duration = Duration::from_secs(3600);

fn wish(directive: Directive) -> Call<ChatRequest> {
    let mut call = ask("a question");
    call.extensions.insert(directive);
    call
}

/// Returns a policy that lets calls accept responses that expired up to two hours ago.
fn stale_allowed() -> DirectivePolicy {
    DirectivePolicy::none().max_stale(2 * HOUR)
}

fn cache(clock: &ManualClock, caps: DirectivePolicy) -> Cache {
    let builder = Cache::builder("tests").ttl(HOUR).stale_if_error(HOUR);
    builder.directive_policy(caps).clock(clock.clone()).build().expect("the settings are right")
}

#[tokio::test(start_paused = true)]
async fn directive_no_store_bypasses_no_cache_replaces() {
    let (upstream, clock) = (Upstream::default(), ManualClock::default());
    let cache = cache(&clock, stale_allowed());
    let provider = provider(&upstream, &cache);
    let status = async |directive| CacheStatus::of(&provider.chat(wish(directive)).await.unwrap());

    assert_eq!(status(Directive::new().no_store()).await, CacheStatus::Miss(Miss::NoStore));
    assert_eq!(cache.stats().entries, 0);
    assert_eq!(status(Directive::new()).await, CacheStatus::Miss(Miss::Unknown));
    clock.advance(HOUR / 2);
    assert_eq!(status(Directive::new().no_store()).await, CacheStatus::Miss(Miss::NoStore));
    assert_eq!(status(Directive::new().no_cache()).await, CacheStatus::Miss(Miss::NoCache));
    let fresh = CacheStatus::Hit { tier: "memory", age: Duration::ZERO, stale: None };
    assert_eq!(status(Directive::new()).await, fresh);
    assert_eq!((upstream.calls(), cache.stats().bypassed, cache.stats().misses), (4, 3, 1));
}

#[tokio::test(start_paused = true)]
async fn directive_bounds_age_and_staleness() {
    let (upstream, clock) = (Upstream::default(), ManualClock::default());
    let provider = provider(&upstream, &cache(&clock, stale_allowed()));
    let only = || Directive::new().only_if_cached();
    let error = provider.chat(wish(only())).await.unwrap_err();
    assert_eq!((error.kind(), upstream.calls()), (ErrorKind::NotFound, 0));

    provider.chat(ask("a question")).await.unwrap();
    clock.advance(HOUR / 2);
    let young = provider.chat(wish(Directive::new().max_age(HOUR / 4))).await.unwrap();
    assert_eq!(CacheStatus::of(&young), CacheStatus::Miss(Miss::TooOld));
    clock.advance(HOUR * 3 / 2);
    let stale = provider.chat(wish(only().max_stale(HOUR))).await.unwrap();
    let allowed = CacheStatus::Hit { tier: "memory", age: HOUR * 3 / 2, stale: Some(Stale::Allowed) };
    assert_eq!(CacheStatus::of(&stale), allowed);
    assert!(provider.chat(wish(only().max_stale(HOUR / 2))).await.is_err(), "it is half an hour past its time");
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn directive_policy_limits_bypass_and_ttl() {
    let (upstream, clock) = (Upstream::default(), ManualClock::default());
    let caps = stale_allowed().no_bypass().max_stale(HOUR / 4).max_ttl(HOUR * 2);
    let provider = provider(&upstream, &cache(&clock, caps));
    provider.chat(wish(Directive::new().ttl(HOUR * 24 * 365))).await.unwrap();
    for capped in [Directive::new().no_store(), Directive::new().no_cache(), Directive::new().max_age(Duration::ZERO)] {
        clock.advance(Duration::from_secs(1));
        let reply = provider.chat(wish(capped.clone())).await.unwrap();
        assert!(matches!(CacheStatus::of(&reply), CacheStatus::Hit { stale: None, .. }), "{capped:?}");
    }
    clock.set_unix(HOUR * 2 + HOUR / 2);
    let only = Directive::new().only_if_cached().max_stale(HOUR);
    assert!(provider.chat(wish(only)).await.is_err(), "its own time was capped, and so was staleness");
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn deadline_of_one_caller_spares_others() {
    let upstream = Upstream::default();
    let provider = provider(&upstream, &cache(&ManualClock::default(), stale_allowed()));
    let hasty = ask("a b c").with_deadline((Instant::now() + HEAD / 2).into_std());
    let (hasty, patient) = tokio::join!(provider.chat(hasty), provider.chat(ask("a b c")));
    assert_eq!(hasty.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(patient.unwrap().output.text(), "a b c");

    let hasty = ask("d e f").with_deadline((Instant::now() + HEAD + STEP * 5 / 2).into_std());
    let (hasty, patient) = tokio::join!(provider.chat_stream(hasty), provider.chat_stream(ask("d e f")));
    let (hasty, patient) = tokio::join!(read(hasty.unwrap().output), read(patient.unwrap().output));
    assert_eq!(hasty.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(patient.unwrap().0, "d e f");
    assert_eq!(upstream.calls(), 2, "one call each");
}

#[tokio::test(start_paused = true)]
async fn single_flight_separates_priorities_but_shares_entries() {
    let upstream = Upstream::default();
    let provider = provider(&upstream, &cache(&ManualClock::default(), stale_allowed()));
    let background = || ask("a").with_priority(Priority::Background);
    let (a, b) = tokio::join!(provider.chat(background()), provider.chat(ask("a")));
    assert_eq!((a.unwrap().receipt.origin(), b.unwrap().receipt.origin()), (Origin::Vendor, Origin::Vendor));
    let hit = provider.chat(background()).await.unwrap().receipt.origin();
    assert!(matches!(hit, Origin::Cache { .. }));
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn is_self_contained_false_is_not_cached() {
    let upstream = Upstream::default();
    let cache = cache(&ManualClock::default(), stale_allowed());
    let provider = provider(&upstream, &cache);
    let with = |part| ChatRequest::new("m").message(Message::new(Role::User, vec![Part::text("see"), part]));
    let requests = [
        with(Part::image_url("https://example.com/now.png")),
        with(Part::Other { value: serde_json::json!({"type": "file", "file": {"file_id": "f"}}).into() }),
        ChatRequest::new("m").user("see").extra("previous_response_id", "r1"),
        ChatRequest::new("m").user("see").tool(Tool::Other(serde_json::json!({"type": "web_search"}).into())),
    ];
    for request in requests {
        for _ in 0..2 {
            provider.chat(Call::new("acme", request.clone())).await.unwrap();
        }
    }
    assert_eq!((upstream.calls(), cache.stats().entries), (8, 0));
    let embedded = with(Part::image_url("data:image/png;base64,AAAA"));
    for _ in 0..2 {
        provider.chat(Call::new("acme", embedded.clone())).await.unwrap();
    }
    assert_eq!(upstream.calls(), 9);
}

#[tokio::test(start_paused = true)]
async fn cache_if_and_max_response_bytes_reject() {
    let upstream = Upstream::default();
    let cache = Cache::builder("tests")
        .cache_if(|response: &ChatResponse, _| !response.text().contains("not sure"))
        .max_response_bytes(4_000)
        .build()
        .unwrap();
    let provider = provider(&upstream, &cache);
    for text in ["I am not sure", &"long ".repeat(1_000), "fine"] {
        for _ in 0..2 {
            provider.chat(ask(text)).await.unwrap();
        }
    }
    assert_eq!((upstream.calls(), cache.stats().entries), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn cache_status_prints_as_header() {
    let upstream = Upstream::default();
    let provider = provider(&upstream, &cache(&ManualClock::default(), stale_allowed()));
    let printed = async || CacheStatus::of(&provider.chat(ask("a")).await.unwrap()).to_string();
    assert_eq!(printed().await, "llm-cache; fwd=uri-miss");
    assert_eq!(printed().await, "llm-cache; hit; detail=\"memory, 0 s old\"");
}
