//! Invalidation while a call runs.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::sync::Arc;

use llm_cache::{Directive, Tag};
use llm_core::{Call, EmbedRequest, ManualClock, Origin, Provider};

use crate::upstream::{Upstream, ask, cache, provider, read};

#[derive(Clone, Copy, Debug)]
enum Way {
    Unary,
    Streamed,
    Embedded,
    EmbeddedApart,
}

/// Sends one request in one way. Returns the origin of its response.
async fn origin(provider: &dyn Provider, way: Way, like: &Call<()>) -> Origin {
    let like = like.clone();
    match way {
        Way::Unary => provider.chat(like.map(|()| ask("a b").body)).await.unwrap().receipt.origin(),
        Way::Streamed => {
            let reply = provider.chat_stream(like.map(|()| ask("a b").body)).await.unwrap();
            let origin = reply.receipt.origin();
            read(reply.output).await.unwrap();
            origin
        }
        Way::Embedded => provider.embed(like.map(|()| EmbedRequest::new("m", ["a"]))).await.unwrap().receipt.origin(),
        Way::EmbeddedApart => {
            provider.embed(like.map(|()| EmbedRequest::new("m", ["a", "b"]))).await.unwrap().receipt.origin()
        }
    }
}

fn labelled(version: Option<&str>) -> Call<()> {
    let call = Call::new("acme", ());
    version.map_or(call.clone(), |version| call.with_label("prompt", version).unwrap())
}

fn tagged() -> Call<()> {
    let mut call = Call::new("acme", ());
    call.extensions.insert(Directive::new().tag(Tag::named("draft")));
    call
}

#[tokio::test(start_paused = true)]
async fn invalidate_keeps_callers_from_joining_leader() {
    let v1 = || Tag::label("prompt", "v1");
    let cases = [
        ("the leader's label", labelled(Some("v1")), v1(), labelled(Some("v2"))),
        ("the leader's label", labelled(Some("v1")), v1(), labelled(None)),
        ("the leader's tag", tagged(), Tag::named("draft"), labelled(None)),
        ("the waiter's label", labelled(None), v1(), labelled(Some("v1"))),
        ("the waiter's tag", labelled(None), Tag::named("draft"), tagged()),
    ];
    for way in [Way::Unary, Way::Streamed, Way::Embedded, Way::EmbeddedApart] {
        for (what, leader, tag, waiter) in &cases {
            let (upstream, cache) = (Upstream::default(), cache(&ManualClock::default()));
            let provider = provider(&upstream, &cache);
            let led = tokio::spawn({
                let (provider, leader) = (Arc::clone(&provider), leader.clone());
                async move { origin(&*provider, way, &leader).await }
            });
            tokio::task::yield_now().await;
            assert_eq!(upstream.calls(), 1, "{way:?}, {what}");
            cache.invalidate(Tag::label("prompt", "v0")).await.unwrap();
            assert_eq!(origin(&*provider, way, waiter).await, Origin::Coalesced, "{way:?}: another tag does not count");
            led.await.unwrap();

            cache.clear().await.unwrap();
            let led = tokio::spawn({
                let (provider, leader) = (Arc::clone(&provider), leader.clone());
                async move { origin(&*provider, way, &leader).await }
            });
            tokio::task::yield_now().await;
            cache.invalidate(tag.clone()).await.unwrap();
            assert_eq!(origin(&*provider, way, waiter).await, Origin::Vendor, "{way:?}, {what}");
            assert_eq!((led.await.unwrap(), upstream.calls()), (Origin::Vendor, 3), "{way:?}, {what}");
        }
    }
}
