//! Tests of revalidation, verification, variants, the negative cache, shadow mode and sharing in every store.

use std::time::Duration;

use llm_cache::{
    Background, Cache, CacheStatus, Directive, DirectivePolicy, Miss, ShadowStatus, Stale, Tag, Verification,
};
use llm_core::{Call, ErrorKind, Origin};

use super::TestStore;
use crate::upstream::{Upstream, ask, provider};

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) async fn revalidate_serves_stale_entry_and_replaces_it(store: TestStore) {
    let set = |builder: llm_cache::CacheBuilder| builder.background(Background::new(2).revalidate(HOUR));
    let upstream = Upstream::default();
    let cache = store.open_with(set);
    let asked = async |text: &str| {
        let reply = provider(&upstream, &cache).chat(ask(text)).await.unwrap();
        cache.close().await.unwrap();
        CacheStatus::of(&reply)
    };
    asked("a").await;
    store.clock.advance(Duration::from_secs(90));
    // Writing any entry removes the entries that can no longer be used.
    asked("b").await;
    let status = asked("a").await;
    assert!(matches!(status, CacheStatus::Hit { stale: Some(Stale::Revalidating), .. }), "{status:?}");
    let status = asked("a").await;
    assert!(matches!(status, CacheStatus::Hit { stale: None, .. }), "{status:?}");
    assert_eq!((upstream.calls(), cache.stats().revalidated), (3, 1));
}

pub(crate) async fn verification_covers_every_tier(store: TestStore) {
    let cache = store.open_with(|builder| builder.background(Background::new(2).verify(Verification::percent(100))));
    let upstream = Upstream::default();
    for _ in 0..3 {
        provider(&upstream, &cache).chat(ask("a")).await.unwrap();
        cache.close().await.unwrap();
        // This is longer than a local tier keeps entries.
        store.clock.advance(Duration::from_secs(11));
    }
    assert_eq!((upstream.calls(), cache.stats().verified, cache.stats().hits), (3, 2, 2));
}

pub(crate) async fn variants_rotate_across_tiers(store: TestStore) {
    let cache = store.open_with(|builder| builder.variants(3));
    let upstream = Upstream::default();
    for _ in 0..9 {
        let mut call = ask("a");
        call.body = call.body.temperature(0.7);
        provider(&upstream, &cache).chat(call).await.unwrap();
        cache.close().await.unwrap();
    }
    assert_eq!((upstream.calls(), cache.stats().entries, cache.stats().hits), (3, 3, 6));
}

pub(crate) async fn negative_ttl_keeps_errors_in_memory_only(store: TestStore) {
    let cache = store.open_with(|builder| builder.negative_ttl(HOUR));
    let upstream = Upstream::default();
    *upstream.fail.lock().unwrap() = Some(ErrorKind::ContextTooLong);
    let fail = async || provider(&upstream, &cache).chat(ask("a")).await.unwrap_err();
    fail().await;
    assert!(matches!(CacheStatus::of_error(&fail().await), CacheStatus::NegativeHit { .. }));
    cache.close().await.unwrap();
    assert_eq!((upstream.calls(), cache.stats().entries), (1, 0));
    cache.invalidate(Tag::tenant("acme")).await.unwrap();
    fail().await;
    assert_eq!(upstream.calls(), 2);
}

pub(crate) async fn shadow_reports_hits_of_every_tier(store: TestStore) {
    let cache = store.open_with(llm_cache::CacheBuilder::shadow);
    let upstream = Upstream::default();
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let reply = provider(&upstream, &cache).chat(ask("a")).await.unwrap();
        assert_eq!(reply.receipt.origin(), Origin::Vendor);
        statuses.push(reply.extensions.get::<ShadowStatus>().unwrap().status);
        cache.close().await.unwrap();
        store.clock.advance(Duration::from_secs(11));
    }
    assert_eq!(statuses[0], CacheStatus::Miss(Miss::Unknown));
    assert!(matches!(statuses[1], CacheStatus::Hit { .. }), "{statuses:?}");
}

pub(crate) async fn shadow_reports_negative_hits(store: TestStore) {
    let cache = store.open_with(|builder| builder.shadow().negative_ttl(HOUR));
    let upstream = Upstream::default();
    let fail = |kind| *upstream.fail.lock().unwrap() = kind;
    fail(Some(ErrorKind::InvalidRequest));
    for refused in [0, 1] {
        store.clock.advance(HOUR / 3);
        let error = provider(&upstream, &cache).chat(ask("a")).await.unwrap_err();
        assert_eq!(CacheStatus::of_error(&error), CacheStatus::Unseen, "it was made");
        assert_eq!(cache.stats().negative_hits, refused);
    }
    fail(None);
    let status = async || {
        let reply = provider(&upstream, &cache).chat(ask("a")).await.unwrap();
        cache.close().await.unwrap();
        reply.extensions.get::<ShadowStatus>().unwrap().status
    };
    assert_eq!(status().await, CacheStatus::NegativeHit { age: HOUR / 3 });
    assert_eq!((upstream.calls(), cache.stats().entries), (3, 0), "what would not have been bought is not stored");
    store.clock.advance(HOUR);
    assert_eq!(status().await, CacheStatus::Miss(Miss::Unknown), "it is not remembered for longer");
}

fn sharing(tenant: &str) -> Call<llm_core::ChatRequest> {
    let mut call = Call::new(tenant, ask("a").body);
    call.extensions.insert(Directive::new().shared("public"));
    call
}

pub(crate) async fn forget_removes_shared_entries_of_paying_tenant(store: TestStore) {
    let cache = store.open_with(|builder| builder.directive_policy(DirectivePolicy::none().allow_sharing()));
    let upstream = Upstream::default();
    let origin = async |tenant| {
        let origin = provider(&upstream, &cache).chat(sharing(tenant)).await.unwrap().receipt.origin();
        cache.close().await.unwrap();
        origin
    };
    assert_eq!(origin("acme").await, Origin::Vendor);
    for stranger in ["public", "umbrella", ""] {
        cache.forget(stranger).await.unwrap();
        assert!(matches!(origin("umbrella").await, Origin::Cache { .. }), "{stranger:?}");
    }
    cache.forget("acme").await.unwrap();
    cache.close().await.unwrap();
    assert_eq!(cache.stats().entries, 0, "no bytes are left");
    assert_eq!(origin("umbrella").await, Origin::Vendor);
}

pub(crate) async fn share_store_with_separates_namespaces(store: TestStore) {
    let upstream = Upstream::default();
    let cache = store.open();
    let other = Cache::builder("other").ttl(HOUR).share_store_with(&cache).build().unwrap();
    let origin = async |cache: &Cache| {
        let origin = provider(&upstream, cache).chat(ask("a")).await.unwrap().receipt.origin();
        cache.close().await.unwrap();
        origin
    };
    for cache in [&cache, &other] {
        assert_eq!(origin(cache).await, Origin::Vendor);
        assert!(matches!(origin(cache).await, Origin::Cache { .. }));
    }
    assert_eq!((cache.stats().entries, other.stats().entries), (2, 2));
    cache.invalidate(Tag::tenant("acme")).await.unwrap();
    assert_eq!(origin(&other).await, Origin::Vendor);
}

pub(crate) async fn forget_handles_odd_tenant_names(store: TestStore) {
    let cache = store.open();
    let upstream = Upstream::default();
    let tenants = ["", " ", "\0", "a\0", "a", "Ω≈ç√", "../../etc", "tenant:a", &"x".repeat(10_000)];
    let origin = async |tenant: &str| {
        let call = Call::new(tenant, ask("a").body);
        provider(&upstream, &cache).chat(call).await.unwrap().receipt.origin()
    };
    for tenant in tenants {
        assert_eq!(origin(tenant).await, Origin::Vendor);
    }
    cache.close().await.unwrap();
    for (forgotten, tenant) in tenants.into_iter().enumerate() {
        assert!(matches!(origin(tenant).await, Origin::Cache { .. }), "{tenant:?}");
        cache.forget(tenant).await.unwrap();
        assert_eq!(cache.stats().entries, (tenants.len() - 1 - forgotten) as u64, "{tenant:?}");
    }
}
