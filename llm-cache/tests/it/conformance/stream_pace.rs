//! Tests of the pace of streams through the cache, in simulated time.

use std::time::Duration;

use futures_util::StreamExt;
use llm_core::Provider;
use tokio::time::Instant;

use super::TestStore;
use crate::upstream::{HEAD, STEP, Upstream, ask, provider};

/// Returns the arrival times of a stream's events, since the call.
async fn times(provider: &dyn Provider) -> Vec<Duration> {
    let began = Instant::now();
    let events = provider.chat_stream(ask("a b c d")).await.unwrap().output;
    events.map(|event| event.map(|_| began.elapsed()).unwrap()).collect().await
}

pub(crate) async fn stream_keeps_its_pace_through_cache(store: TestStore) {
    let upstream = Upstream::default();
    let cache = store.open();
    let provider = provider(&upstream, &cache);
    let bare = times(&upstream).await;
    let steps: Vec<_> = (1..=7).map(|n| HEAD + n * STEP).collect();
    assert_eq!(bare, steps, "the vendor's own pace");

    let late = HEAD + STEP * 7 / 2;
    let follow = async {
        tokio::time::sleep(late).await;
        times(&*provider).await
    };
    let (led, followed) = tokio::join!(times(&*provider), follow);
    assert_eq!(led, bare, "nothing is held back");
    let left: Vec<_> = bare.iter().map(|time| time.saturating_sub(late)).collect();
    assert_eq!(followed, left, "what has come is there at once, the rest with the leader's");
    for _ in 0..2 {
        let stored = times(&*provider).await;
        assert!(stored.len() > 2 && stored.iter().all(Duration::is_zero), "what is stored comes at once: {stored:?}");
        cache.close().await.unwrap();
        // After this time, the entry is no longer in the local tier.
        store.clock.advance(Duration::from_secs(11));
    }
    assert_eq!(upstream.calls(), 2);
}
