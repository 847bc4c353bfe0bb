//! Tests of stale entries in every store.

use std::{sync::Arc, time::Duration};

use llm_cache::{Background, CacheStatus, Directive, Miss, ShadowStatus, Stale, Tag, Verification};
use llm_core::{Call, ChatRequest, ErrorKind, Origin};

use super::TestStore;
use crate::upstream::{Upstream, ask, provider};

const HOUR: Duration = Duration::from_secs(3600);

fn wish(directive: Directive) -> Call<ChatRequest> {
    let mut call = ask("a");
    call.extensions.insert(directive);
    call
}

pub(crate) async fn stale_if_error_skips_entry_invalidated_meanwhile(store: TestStore) {
    let upstream = Upstream::default();
    let cache = store.open_with(|builder| builder.ttl(HOUR).stale_if_error(HOUR));
    let provider = provider(&upstream, &cache);
    provider.chat(ask("a")).await.unwrap();
    store.clock.advance(HOUR * 3 / 2);
    *upstream.fail.lock().unwrap() = Some(ErrorKind::Server);
    let spared = provider.chat(ask("a")).await.unwrap();
    assert!(matches!(CacheStatus::of(&spared), CacheStatus::Hit { stale: Some(Stale::Error), .. }));
    upstream.hold(true);
    let failing = tokio::spawn({
        let provider = Arc::clone(&provider);
        async move { provider.chat(ask("a")).await.map(|reply| CacheStatus::of(&reply)) }
    });
    upstream.called(3).await;
    cache.invalidate(Tag::model("m")).await.unwrap();
    upstream.hold(false);
    assert_eq!(failing.await.unwrap().unwrap_err().kind(), ErrorKind::Server);
}

pub(crate) async fn only_if_cached_sends_no_call(store: TestStore) {
    let upstream = Upstream::default();
    let cache = store.open_with(|builder| {
        builder.background(Background::new(2).verify(Verification::percent(100)).revalidate(HOUR))
    });
    let provider = provider(&upstream, &cache);
    let only = || Directive::new().only_if_cached();
    for directive in [only(), only().no_cache(), only().no_store()] {
        let error = provider.chat(wish(directive.clone())).await.unwrap_err();
        assert_eq!((error.kind(), upstream.calls()), (ErrorKind::NotFound, 0), "{directive:?}");
    }
    provider.chat(ask("a")).await.unwrap();
    cache.close().await.unwrap();
    // The entry is first in the local tier, then only in the remote one, and then expired.
    for (seconds, stale) in [(0, false), (11, false), (60, true), (0, true)] {
        store.clock.advance(Duration::from_secs(seconds));
        let reply = provider.chat(wish(only())).await.unwrap();
        let CacheStatus::Hit { stale: reason, .. } = CacheStatus::of(&reply) else { panic!("{reply:?}") };
        assert_eq!(reason.is_some(), stale);
        cache.close().await.unwrap();
        assert_eq!((upstream.calls(), cache.stats().verified, cache.stats().revalidated), (1, 0, 0));
    }
}

pub(crate) async fn stale_if_error_covers_max_age(store: TestStore) {
    let upstream = Upstream::default();
    let cache = store.open_with(|builder| builder.ttl(HOUR).stale_if_error(HOUR));
    let provider = provider(&upstream, &cache);
    let young = || wish(Directive::new().max_age(HOUR / 4));
    provider.chat(ask("a")).await.unwrap();
    *upstream.fail.lock().unwrap() = Some(ErrorKind::Server);
    for minutes in [30, 40] {
        store.clock.advance(Duration::from_secs(60 * minutes));
        let reply = provider.chat(young()).await.unwrap();
        let status = CacheStatus::of(&reply);
        assert!(matches!(status, CacheStatus::Hit { stale: Some(Stale::Error), .. }), "{status:?}");
        assert!(matches!(reply.receipt.origin(), Origin::Cache { .. }));
    }
    assert_eq!(upstream.calls(), 3);
}

pub(crate) async fn shadow_reports_too_old_entries(store: TestStore) {
    let upstream = Upstream::default();
    let cache = store.open_with(|builder| builder.ttl(HOUR).stale_if_error(HOUR).shadow());
    let provider = provider(&upstream, &cache);
    provider.chat(ask("a")).await.unwrap();
    cache.close().await.unwrap();
    store.clock.advance(HOUR / 2);
    let reply = provider.chat(wish(Directive::new().max_age(HOUR / 4))).await.unwrap();
    assert_eq!(reply.extensions.get::<ShadowStatus>().unwrap().status, CacheStatus::Miss(Miss::TooOld));
}
