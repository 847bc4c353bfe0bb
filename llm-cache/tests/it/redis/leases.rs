//! Tests that several processes pay for each request once. A cache of its own stands for each process.

use std::{io, sync::Arc, time::Duration};

use llm_cache::{CacheLayer, Tag};
use llm_core::{ErrorKind, Origin, into_provider, into_service};
use llm_testkit::redis::RedisServer;
use tokio::{
    sync::oneshot,
    time::{Instant, advance, pause, resume, timeout},
};
use tower::ServiceBuilder;

use super::{TIMEOUT, key, leases, not_asked, open, options, until};
use crate::upstream::{Upstream, ask, provider, read, say};

#[tokio::test]
async fn lease_covers_running_stream() {
    let server = RedisServer::spawn();
    let (one, other) = (open(&server, |builder| builder), open(&server, |builder| builder));
    let upstream = Upstream::default();
    let (first, second) = (provider(&upstream, &one), provider(&upstream, &other));
    let text = "a question of some words";
    let (streamed, waited) = tokio::join!(say(&*first, text, true), async {
        upstream.called(1).await;
        second.chat(ask(text)).await
    });
    assert_eq!(streamed.unwrap(), text);
    let waited = waited.unwrap();
    assert!(matches!(waited.receipt.origin(), Origin::Cache { tier: "redis", .. }), "{:?}", waited.receipt.origin());
    assert_eq!((waited.output.text().as_ref(), upstream.calls()), (text, 1));
    assert_eq!((other.stats().awaited, other.stats().misses), (1, 0));
}

#[tokio::test]
async fn lease_wait_ends_at_deadline() {
    let server = RedisServer::spawn();
    let (one, other) = (open(&server, |builder| builder), open(&server, |builder| builder));
    let key_of_ask = llm_cache::Key::of_operation("tests", "acme", &ask("a").body);
    let stuck = tokio::spawn(async move {
        one.get_or_call(&key_of_ask, std::future::pending::<Result<u32, io::Error>>).await.map(|_| ())
    });
    let upstream = Upstream::default();
    let provider = provider(&upstream, &other);
    until(|| !leases(&server).is_empty()).await;
    let mut call = ask("a");
    call.deadline = Some((Instant::now() + Duration::from_secs(600)).into_std());
    let asking = tokio::spawn(async move { provider.chat(call).await });
    until(|| other.stats().awaited == 1).await;
    // Half of the lease's time has passed.
    pause();
    advance(Duration::from_secs(301)).await;
    resume();
    assert_eq!(asking.await.unwrap().unwrap().receipt.origin(), Origin::Vendor);
    assert_eq!((upstream.calls(), other.stats().awaited), (1, 1));
    stuck.abort();
}

#[tokio::test]
async fn lease_after_failed_call_frees_all_processes() {
    let server = RedisServer::spawn();
    let upstream = Upstream::default();
    *upstream.fail.lock().unwrap() = Some(ErrorKind::Server);
    let providers: Vec<_> = (0..4)
        .map(|_| {
            let layer = CacheLayer::new(open(&server, |builder| builder));
            into_provider(ServiceBuilder::new().layer(layer).service(into_service(Arc::new(upstream.clone()))))
        })
        .collect();
    let calls = providers.iter().map(|provider| provider.chat(ask("a")));
    for reply in futures_util::future::join_all(calls).await {
        assert_eq!(reply.unwrap_err().kind(), ErrorKind::Server);
    }
    assert!((1..=4).contains(&upstream.calls()), "{}", upstream.calls());
}

#[tokio::test]
async fn lease_lost_does_not_end_successor() {
    let server = RedisServer::spawn();
    let [one, two, three] = [0, 1, 2].map(|_| open(&server, |builder| builder));
    let ask = |cache: &llm_cache::Cache, response: oneshot::Receiver<Result<u32, io::Error>>| {
        let cache = cache.clone();
        let call = || async move { response.await.expect("the test sends it") };
        tokio::spawn(async move { cache.get_or_call(&key(1), call).await.map(|got| *got.value).ok() })
    };
    let [(fail, first), (respond, second), (unused, third)] = [0, 1, 2].map(|_| oneshot::channel());
    let first = ask(&one, first);
    until(|| one.stats().leased > 0).await;
    // This has the same effect as a holder that was stopped for longer than its lease.
    server.command(&["DEL", &leases(&server)]).unwrap();
    let second = ask(&two, second);
    until(|| two.stats().leased > 0).await;
    drop(unused);
    let third = ask(&three, third);
    // Invalidations have a channel too, so the pattern selects that of the waiters.
    until(|| server.command(&["PUBSUB", "CHANNELS", "*:wake"]).unwrap().lines().count() >= 2).await;
    fail.send(Err(io::Error::other("as asked"))).unwrap();
    assert_eq!(first.await.unwrap(), None);
    one.close().await.unwrap();
    respond.send(Ok(7)).unwrap();
    assert_eq!((second.await.unwrap(), third.await.unwrap()), (Some(7), Some(7)));
    assert_eq!(three.stats().misses, 0);
}

#[tokio::test]
async fn lease_passes_on_when_leader_leaves() {
    let server = RedisServer::spawn();
    let [one, other] = [0, 1].map(|_| open(&server, |builder| builder.redis(options(&server).lease(60 * TIMEOUT))));
    let leaver = tokio::spawn({
        let one = one.clone();
        async move { one.get_or_call(&key(1), std::future::pending::<Result<u32, io::Error>>).await.map(|_| ()) }
    });
    until(|| one.stats().leased > 0).await;
    let next = tokio::spawn({
        let other = other.clone();
        async move { other.get_or_call(&key(1), || async { Ok::<u32, io::Error>(5) }).await.map(|got| *got.value) }
    });
    until(|| other.stats().awaited > 0).await;
    leaver.abort();
    let got = timeout(TIMEOUT, next).await.expect("long before the lease's end");
    assert_eq!(got.unwrap().unwrap(), 5);
}

#[tokio::test]
async fn lease_of_long_call_is_renewed() {
    let server = RedisServer::spawn();
    let lease = Duration::from_secs(2);
    let (one, other) = (
        open(&server, |builder| builder.redis(options(&server).lease(lease))),
        open(&server, |builder| builder.redis(options(&server).lease(lease))),
    );
    let (respond, response) = oneshot::channel();
    let leader = tokio::spawn({
        let one = one.clone();
        async move {
            one.get_or_call(&key(1), || async { response.await.map_err(io::Error::other) }).await.map(|got| *got.value)
        }
    });
    until(|| one.stats().leased > 0).await;
    let waiter = tokio::spawn(async move { other.get_or_call(&key(1), not_asked).await.map(|got| *got.value) });
    until(|| server.command(&["INFO", "commandstats"]).unwrap().contains("cmdstat_pexpire:")).await;
    respond.send(7).unwrap();
    assert_eq!((leader.await.unwrap().unwrap(), waiter.await.unwrap().unwrap()), (7, 7));
    assert_eq!(one.stats().lost_leases, 0);
}

#[tokio::test]
async fn lease_separates_requests() {
    let server = RedisServer::spawn();
    let (one, other) = (open(&server, |builder| builder), open(&server, |builder| builder));
    let stuck = tokio::spawn({
        let one = one.clone();
        async move { one.get_or_call(&key(1), std::future::pending::<Result<u32, io::Error>>).await.map(|_| ()) }
    });
    until(|| one.stats().leased > 0).await;
    for n in 2..40 {
        super::put(&other, n).await;
    }
    assert_eq!(other.stats().awaited, 0);
    stuck.abort();
}

#[tokio::test]
async fn lease_of_item_awaited_others_sent() {
    let server = RedisServer::spawn();
    let (one, other) = (open(&server, |builder| builder), open(&server, |builder| builder));
    let upstream = Upstream::default();
    let (first, second) = (provider(&upstream, &one), provider(&upstream, &other));
    let embed = |texts: &[&str]| {
        llm_core::Call::new("acme", llm_core::EmbedRequest::new("e", texts.iter().map(ToString::to_string)))
    };
    let (a, b) = tokio::join!(first.embed(embed(&["x", "y"])), async {
        until(|| one.stats().leased >= 2).await;
        second.embed(embed(&["y", "z", "x", "u"])).await
    });
    assert_eq!((a.unwrap().output.vectors.len(), b.unwrap().output.vectors.len()), (2, 4));
    assert_eq!((upstream.calls(), other.stats().leased), (2, 2));
}

/// The leader's stream is never read, and its lease lasts longer than the test.
#[tokio::test]
async fn invalidate_frees_lease_of_older_call() {
    let server = RedisServer::spawn();
    let [one, two, three] =
        [0, 1, 2].map(|_| open(&server, |builder| builder.redis(options(&server).lease(60 * TIMEOUT))));
    let upstream = Upstream::default();
    let providers = [&one, &two, &three].map(|cache| provider(&upstream, cache));
    let tags = [None, Some(Tag::tenant("acme")), Some(Tag::model("m")), Some(Tag::label("prompt", "v1"))];
    for (n, tag) in tags.into_iter().enumerate() {
        let call = || ask(&format!("a {n}")).with_label("prompt", "v1").expect("a short label");
        let older = providers[0].chat_stream(call()).await.unwrap();
        let dropped = match tag.clone() {
            None => two.clear().await,
            Some(tag) => two.invalidate(tag).await,
        };
        dropped.unwrap();
        let newer = timeout(TIMEOUT, providers[1].chat(call())).await.expect("it waits for no older call");
        assert_eq!(newer.unwrap().receipt.origin(), Origin::Vendor, "{tag:?}");
        assert_eq!((two.stats().awaited, two.stats().leased), (0, n as u64 + 1), "{tag:?}");
        two.close().await.unwrap();
        let third = providers[2].chat(call()).await.unwrap().receipt.origin();
        assert!(matches!(third, Origin::Cache { tier: "redis", .. }), "{tag:?}: {third:?}");
        assert_eq!(read(older.output).await.unwrap().0, format!("a {n}"), "its reader gets the older response");
    }
    assert_eq!(upstream.calls(), 8);
}

/// The older call does not end a lease that was taken over, and an invalidation of other tags takes over no lease.
#[tokio::test]
async fn invalidate_leaves_lease_of_newer_call() {
    let server = RedisServer::spawn();
    let [one, two, three] =
        [0, 1, 2].map(|_| open(&server, |builder| builder.redis(options(&server).lease(60 * TIMEOUT))));
    let upstream = Upstream::default();
    let providers = [&one, &two, &three].map(|cache| provider(&upstream, cache));
    upstream.hold(true);
    let call = |n: usize| {
        let provider = Arc::clone(&providers[n]);
        tokio::spawn(async move { provider.chat(ask("a")).await.map(|reply| reply.receipt.origin()) })
    };
    let older = call(0);
    upstream.called(1).await;
    two.invalidate(Tag::tenant("acme")).await.unwrap();
    let newer = call(1);
    timeout(TIMEOUT, upstream.called(2)).await.expect("it waits for no older call");
    three.invalidate(Tag::tenant("umbrella")).await.unwrap();
    let waiter = call(2);
    until(|| three.stats().awaited == 1).await;
    older.abort();
    assert!(older.await.is_err());
    one.close().await.unwrap();
    upstream.hold(false);
    assert_eq!(newer.await.unwrap().unwrap(), Origin::Vendor);
    let waited = waiter.await.unwrap().unwrap();
    assert!(matches!(waited, Origin::Cache { tier: "redis", .. }), "{waited:?}");
    assert_eq!(upstream.calls(), 2);
}
