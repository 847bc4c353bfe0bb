//! Tests of invalidation in every store.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use llm_cache::{Directive, DirectivePolicy, Tag};
use llm_core::{Call, ChatRequest, ErrorKind, Origin};

use super::TestStore;
use crate::upstream::{Upstream, ask, provider, read, say};

fn labelled(version: &str) -> Call<ChatRequest> {
    ask(&format!("question of {version}")).with_label("prompt", version).expect("a short label")
}

pub(crate) async fn invalidate_drops_by_tenant_model_label_tag(store: TestStore) {
    let upstream = Upstream::default();
    let cache = store.open();
    let provider = provider(&upstream, &cache);
    let tagged = || {
        let mut call = ask("tagged");
        call.extensions.insert(Directive::new().tag(Tag::named("import-7")));
        call
    };
    let calls: Vec<Box<dyn Fn() -> Call<ChatRequest>>> = vec![
        Box::new(|| Call::new("umbrella", ChatRequest::new("m").user("x"))),
        Box::new(|| Call::new("acme", ChatRequest::new("m2").user("x"))),
        Box::new(|| labelled("v1")),
        Box::new(tagged),
        Box::new(|| ask("plain")),
    ];
    for call in &calls {
        provider.chat(call()).await.unwrap();
    }
    let tags = [Tag::tenant("umbrella"), Tag::model("m2"), Tag::label("prompt", "v1"), Tag::named("import-7")];
    for (dropped, tag) in tags.into_iter().enumerate() {
        cache.invalidate(tag).await.unwrap();
        for (at, call) in calls.iter().enumerate() {
            let origin = provider.chat(call()).await.unwrap().receipt.origin();
            assert_eq!(origin == Origin::Vendor, at == dropped, "call {at} after tag {dropped}");
        }
    }
}

pub(crate) async fn invalidate_bars_running_call(store: TestStore) {
    let cache = store.open();
    for streamed in [false, true] {
        cache.clear().await.unwrap();
        let upstream = Upstream::default();
        let provider = provider(&upstream, &cache);
        upstream.hold(true);
        let old = tokio::spawn({
            let provider = Arc::clone(&provider);
            async move { say(&*provider, "a b", streamed).await }
        });
        upstream.called(1).await;
        cache.invalidate(Tag::tenant("acme")).await.unwrap();
        upstream.hold(false);
        let new = provider.chat(ask("a b")).await.unwrap();
        assert_eq!(new.receipt.origin(), Origin::Vendor, "it did not join the call that began before");
        assert_eq!(old.await.unwrap().unwrap(), "a b", "whoever asked before is answered");
        assert_eq!(upstream.calls(), 2);
        cache.close().await.unwrap();
        assert_eq!((cache.stats().entries, cache.stats().running), (1, 0));
        assert!(matches!(provider.chat(ask("a b")).await.unwrap().receipt.origin(), Origin::Cache { .. }));
    }
}

pub(crate) async fn invalidate_leaves_running_stream_to_readers(store: TestStore) {
    let (upstream, cache) = (Upstream::default(), store.open());
    let provider = provider(&upstream, &cache);
    for asks_anew in [false, true] {
        let before = upstream.calls();
        cache.clear().await.unwrap();
        let mut old = provider.chat_stream(ask("a b c")).await.unwrap().output;
        for _ in 0..2 {
            old.next().await.unwrap().unwrap();
        }
        cache.invalidate(Tag::model("m")).await.unwrap();
        if asks_anew {
            let new = provider.chat_stream(ask("a b c")).await.unwrap();
            assert_eq!(new.receipt.origin(), Origin::Vendor, "it did not join the stream that runs");
            assert_eq!(read(new.output).await.unwrap().0, "a b c");
        }
        assert_eq!(read(old).await.unwrap().0, "b c", "whoever reads already reads on");
        cache.close().await.unwrap();
        assert_eq!(
            (cache.stats().entries, cache.stats().running),
            (u64::from(asks_anew), 0),
            "the old one is not kept"
        );
        let origin = provider.chat(ask("a b c")).await.unwrap().receipt.origin();
        assert_eq!(origin == Origin::Vendor, !asks_anew);
        assert_eq!(upstream.calls() - before, 2);
    }
}

pub(crate) async fn invalidate_precedes_max_stale(store: TestStore) {
    let (upstream, hour) = (Upstream::default(), Duration::from_secs(3600));
    let cache = store.open_with(|builder| builder.ttl(hour).directive_policy(DirectivePolicy::none().max_stale(hour)));
    let provider = provider(&upstream, &cache);
    let lenient = || {
        let mut call = ask("a");
        call.extensions.insert(Directive::new().max_stale(hour));
        call
    };
    provider.chat(lenient()).await.unwrap();
    store.clock.advance(hour * 3 / 2);
    assert!(matches!(provider.chat(lenient()).await.unwrap().receipt.origin(), Origin::Cache { .. }));
    cache.invalidate(Tag::model("m")).await.unwrap();
    assert_eq!(provider.chat(lenient()).await.unwrap().receipt.origin(), Origin::Vendor);
    assert_eq!(upstream.calls(), 2);
}

pub(crate) async fn invalidate_precedes_stale_if_error(store: TestStore) {
    let upstream = Upstream::default();
    let clock = &store.clock;
    let hour = Duration::from_secs(3600);
    let cache = store.open_with(|builder| {
        builder.ttl(hour).stale_if_error(hour).directive_policy(DirectivePolicy::none().max_stale(hour))
    });
    let provider = provider(&upstream, &cache);
    provider.chat(ask("a")).await.unwrap();
    clock.advance(hour * 3 / 2);
    cache.invalidate(Tag::model("m")).await.unwrap();
    *upstream.fail.lock().unwrap() = Some(ErrorKind::Server);
    assert_eq!(provider.chat(ask("a")).await.unwrap_err().kind(), ErrorKind::Server);
}

pub(crate) async fn forget_frees_bytes_of_one_tenant(store: TestStore) {
    let upstream = Upstream::default();
    let cache = store.open();
    let provider = provider(&upstream, &cache);
    let question = |n| ChatRequest::new("m").user(format!("{n}"));
    let calls = (0..20).flat_map(|n| ["acme", "umbrella"].map(|tenant| provider.chat(Call::new(tenant, question(n)))));
    assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_ok));
    let key = cache.key("umbrella", "own", "x").unwrap();
    cache.get_or_call(&key, || async { Ok::<_, std::io::Error>(7u8) }).await.unwrap();
    cache.forget("umbrella").await.unwrap();
    cache.close().await.unwrap();
    assert_eq!(cache.stats().entries, 20);
    let again = cache.get_or_call(&key, || async { Ok::<_, std::io::Error>(8u8) }).await.unwrap();
    assert_eq!(*again.value, 8);
    cache.clear().await.unwrap();
    cache.close().await.unwrap();
    assert_eq!(cache.stats().entries, 0);
    assert_eq!(provider.chat(ask("1")).await.unwrap().receipt.origin(), Origin::Vendor);
}

pub(crate) async fn remove_drops_one_entry(store: TestStore) {
    let cache = store.open();
    let key = cache.key("acme", "own", "x").unwrap();
    let ask = || cache.get_or_call(&key, || async { Ok::<_, std::io::Error>(7u8) });
    ask().await.unwrap();
    cache.remove(&key).await.unwrap();
    assert_eq!(ask().await.unwrap().origin, Origin::Vendor);
}
