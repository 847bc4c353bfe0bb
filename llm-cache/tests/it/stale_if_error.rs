//! Tests of stale entries that are served because the calls that should replace them fail.

use std::time::Duration;

use llm_cache::{Cache, CacheStatus, DirectivePolicy, Stale};
use llm_core::{ErrorKind, ManualClock};
use tokio::time::Instant;

use crate::upstream::{HEAD, Upstream, ask, provider, read};

const HOUR: Duration = Duration::from_secs(3600);

/// Returns a policy that lets calls accept responses that expired up to two hours ago.
fn stale_allowed() -> DirectivePolicy {
    DirectivePolicy::none().max_stale(2 * HOUR)
}

fn cache(clock: &ManualClock, caps: DirectivePolicy) -> Cache {
    let builder = Cache::builder("tests").ttl(HOUR).stale_if_error(HOUR);
    builder.directive_policy(caps).clock(clock.clone()).build().expect("the settings are right")
}

#[tokio::test(start_paused = true)]
async fn stale_if_error_serves_expired_entry_on_vendor_failure() {
    let (upstream, clock) = (Upstream::default(), ManualClock::default());
    let provider = provider(&upstream, &cache(&clock, stale_allowed()));
    provider.chat(ask("a question")).await.unwrap();
    let fail = |kind| *upstream.fail.lock().unwrap() = kind;
    for kind in
        [ErrorKind::RateLimited, ErrorKind::Server, ErrorKind::Timeout, ErrorKind::OverBudget, ErrorKind::Unavailable]
    {
        clock.set_unix(HOUR * 3 / 2);
        fail(Some(kind));
        let reply = provider.chat(ask("a question")).await.unwrap();
        let spared = CacheStatus::Hit { tier: "memory", age: HOUR * 3 / 2, stale: Some(Stale::Error) };
        assert_eq!(CacheStatus::of(&reply), spared, "{kind}");
        let streamed = provider.chat_stream(ask("a question")).await.unwrap();
        assert_eq!(read(streamed.output).await.unwrap().0, "a question");
    }
    fail(Some(ErrorKind::InvalidRequest));
    let error = provider.chat(ask("a question")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "an error of the request is returned");
    clock.set_unix(HOUR * 2);
    fail(Some(ErrorKind::Server));
    assert!(provider.chat(ask("a question")).await.is_err(), "not for ever");
}

#[tokio::test(start_paused = true)]
async fn stale_if_error_serves_expired_entry_at_deadline() {
    let (upstream, clock) = (Upstream::default(), ManualClock::default());
    let provider = provider(&upstream, &cache(&clock, stale_allowed()));
    provider.chat(ask("a question")).await.unwrap();
    clock.advance(HOUR * 3 / 2);
    let started = Instant::now();
    let hasty = || ask("a question").with_deadline((started + HEAD / 2).into_std());
    let (leader, follower) = tokio::join!(provider.chat(hasty()), provider.chat_stream(hasty()));
    for status in [CacheStatus::of(&leader.unwrap()), CacheStatus::of(&follower.unwrap())] {
        assert!(matches!(status, CacheStatus::Hit { stale: Some(Stale::Error), .. }), "{status:?}");
    }
    assert_eq!(started.elapsed().as_millis(), (HEAD / 2).as_millis());
}
