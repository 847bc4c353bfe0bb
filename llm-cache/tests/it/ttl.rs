//! Tests of the time to live: rules and jitter.

use std::time::Duration;

use futures_util::future::join_all;
use llm_cache::{BuildError, Cache, CacheStatus, Directive, Ttl, TtlRule};
use llm_core::{Call, ChatRequest, EmbedRequest, ManualClock};

use crate::upstream::{Upstream, ask, provider};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn is_hit(status: CacheStatus) -> bool {
    matches!(status, CacheStatus::Hit { stale: None, .. })
}

#[tokio::test(start_paused = true)]
async fn ttl_rule_that_matches_first_decides() {
    let (upstream, clock) = (Upstream::default(), ManualClock::default());
    let ttl = Ttl::new(5 * MINUTE)
        .rule(TtlRule::new(15 * MINUTE).label("feature", "news"))
        .rule(TtlRule::new(HOUR).operation("embed"))
        .rule(TtlRule::new(DAY).model("large"))
        .rule(TtlRule::new(7 * DAY).tenant("acme"));
    let cache = Cache::builder("t").ttl(ttl).clock(clock.clone()).build().unwrap();
    let provider = provider(&upstream, &cache);
    let only = Directive::new().only_if_cached();
    let chat = async |tenant, model: &str, label: Option<&str>, only: Option<&Directive>| {
        let mut call = Call::new(tenant, ChatRequest::new(model).user("q"));
        if let Some(value) = label {
            call = call.with_label("feature", value).unwrap();
        }
        call.extensions.insert(only.cloned().unwrap_or_default());
        provider.chat(call).await.is_ok_and(|reply| only.is_none() || is_hit(CacheStatus::of(&reply)))
    };
    let embed = async |only: Option<&Directive>| {
        let mut call = Call::new("acme", EmbedRequest::new("large", ["q"]));
        call.extensions.insert(only.cloned().unwrap_or_default());
        provider.embed(call).await.is_ok_and(|reply| only.is_none() || is_hit(CacheStatus::of(&reply)))
    };
    // A request with a label and the same one without it have the same key. Therefore each case uses a tenant of its
    // own.
    let all = async |only: Option<&Directive>| {
        [
            chat("umbrella", "small", None, only).await,
            chat("acme", "news-model", Some("news"), only).await,
            embed(only).await,
            chat("acme", "large", Some("weather"), only).await,
            chat("acme", "small", None, only).await,
        ]
    };
    assert_eq!(all(None).await, [true; 5]);
    let mut passed = Duration::ZERO;
    for (gone, end) in (0..).zip([5 * MINUTE, 15 * MINUTE, HOUR, DAY, 7 * DAY]) {
        let instant = Duration::from_micros(1);
        clock.advance(end - passed - instant);
        let before: [bool; 5] = std::array::from_fn(|at| at >= gone);
        assert_eq!(all(Some(&only)).await, before, "just before {end:?}");
        clock.advance(instant);
        let after: [bool; 5] = std::array::from_fn(|at| at > gone);
        assert_eq!(all(Some(&only)).await, after, "after {end:?}");
        passed = end;
    }
    assert_eq!(upstream.calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn ttl_jitter_spreads_expiry_of_entries() {
    for (percent, spread) in [(0, false), (10, true)] {
        let (upstream, clock) = (Upstream::default(), ManualClock::default());
        let cache = Cache::builder("t").ttl(Ttl::new(HOUR).jitter(percent)).clock(clock.clone()).build().unwrap();
        let provider = provider(&upstream, &cache);
        join_all((0..200).map(|n| provider.chat(ask(&n.to_string())))).await;
        let live = async || {
            let mut live = 0;
            for n in 0..200 {
                let mut call = ask(&n.to_string());
                call.extensions.insert(Directive::new().only_if_cached());
                live += u32::from(provider.chat(call).await.is_ok());
            }
            live
        };
        clock.advance(HOUR * 90 / 100 - Duration::from_micros(1));
        assert_eq!(live().await, 200, "before the earliest end");
        clock.advance(HOUR * 5 / 100);
        let half = live().await;
        assert_eq!((50..150).contains(&half), spread, "{half} live on with {percent} % of jitter");
        clock.advance(HOUR * 5 / 100 + Duration::from_micros(1));
        assert_eq!((live().await, upstream.calls()), (0, 200));
    }
    assert_eq!(Cache::builder("t").ttl(Ttl::new(HOUR).jitter(101)).build().unwrap_err(), BuildError::Jitter);
    assert!(Cache::builder("t").ttl(Ttl::new(HOUR).jitter(100)).build().is_ok());
}
