//! Tests of `Cache::close` with Redis: writes and leases of a process that ends.

use std::io;

use llm_testkit::redis::RedisServer;
use tokio::{
    runtime,
    sync::{oneshot, watch},
};

use super::{TIMEOUT, key, leases, not_asked, open, put, until};

fn runtime() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
}

#[tokio::test]
async fn close_waits_until_stalled_server_has_written() {
    let server = RedisServer::spawn();
    let (one, other) = (open(&server, |builder| builder), open(&server, |builder| builder));
    let (respond, response) = oneshot::channel();
    let leader = tokio::spawn({
        let one = one.clone();
        async move {
            one.get_or_call(&key(1), || async { response.await.map_err(io::Error::other) }).await.map(|got| *got.value)
        }
    });
    until(|| one.stats().leased == 1).await;
    server.pause();
    respond.send(7).unwrap();
    assert_eq!(leader.await.unwrap().unwrap(), 7);
    let closing = tokio::spawn(async move { one.close().await });
    tokio::task::yield_now().await;
    assert!(!closing.is_finished(), "the server stands still");
    server.resume();
    closing.await.unwrap().unwrap();
    assert_eq!(leases(&server), "");
    assert_eq!(*other.get_or_call(&key(1), not_asked).await.unwrap().value, 7);
}

#[tokio::test]
async fn close_waits_for_lease_of_running_call() {
    let server = RedisServer::spawn();
    let cache = open(&server, |builder| builder);
    let (fail, failed) = oneshot::channel::<u32>();
    let call = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_call(&key(1), || async { failed.await.map_err(io::Error::other) }).await.map(drop) }
    });
    until(|| cache.stats().leased == 1).await;
    let closing = tokio::spawn({
        let cache = cache.clone();
        async move { cache.close().await }
    });
    // Jobs that are queued after `close` are still done.
    cache.remove(&key(2)).await.unwrap();
    tokio::task::yield_now().await;
    assert!(!closing.is_finished() && !leases(&server).is_empty(), "a call still runs");
    drop(fail);
    assert!(call.await.unwrap().is_err());
    closing.await.unwrap().unwrap();
    assert_eq!(leases(&server), "");
}

#[test]
fn close_reports_losses_of_ended_runtime() {
    let mut server = RedisServer::spawn();
    let first = runtime();
    let cache = first.block_on(async { open(&server, |builder| builder) });
    first.block_on(async {
        let (respond, responses) = watch::channel(0);
        // The last of these calls is never answered.
        let mut calls = [1, 2, 3, 4].map(|n| {
            let (cache, mut responses) = (cache.clone(), responses.clone());
            let call = move || async move {
                responses.wait_for(|responses| *responses >= n).await.map(|_| n).map_err(io::Error::other)
            };
            tokio::spawn(async move { cache.get_or_call(&key(n), call).await.map(|got| *got.value).ok() })
        });
        until(|| cache.stats().leased == 4).await;
        server.kill();
        respond.send(3).unwrap();
        for (n, call) in (1..).zip(&mut calls[..3]) {
            assert_eq!(call.await.unwrap(), Some(n));
        }
    });
    drop(first);
    let error = runtime().block_on(cache.close()).unwrap_err().to_string();
    assert!(error.contains("3 answers were not written") && error.contains("leases were not given back"), "{error}");
    assert_eq!(cache.stats().dropped_writes, 3);
    runtime().block_on(async {
        tokio::time::timeout(TIMEOUT, put(&cache, 5)).await.expect("nobody waits for what has ended");
    });
    let error = runtime().block_on(cache.close()).unwrap_err().to_string();
    assert!(error.contains("4 answers were not written"), "{error}");
}

#[test]
fn close_outside_runtime_returns_error() {
    let server = RedisServer::spawn();
    let first = runtime();
    let cache = first.block_on(async { open(&server, |builder| builder) });
    let mut closing = tokio_test::task::spawn(cache.close());
    let std::task::Poll::Ready(Err(error)) = closing.poll() else { panic!("it fails at once") };
    assert!(error.to_string().contains("tokio runtime"), "{error}");
}
