//! Tests of claims of leases within `claim_timeout`.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use llm_cache::{Cache, RedisOptions, llm_redis::Redis};
use llm_testkit::redis::RedisServer;
use tokio::time::timeout;

use super::{TIMEOUT, key, leases, not_asked, proxy::Proxy, put, until};

/// Timeout of lookups that a distant server does not meet.
const SHORT_TIMEOUT: Duration = Duration::from_millis(10);

fn hasty(url: &str) -> Cache {
    let builder =
        Cache::builder("tests").redis(RedisOptions::new().redis_timeout(SHORT_TIMEOUT).claim_timeout(TIMEOUT));
    builder.open(url).expect("the settings are right")
}

#[tokio::test]
async fn claim_timeout_outlasts_redis_timeout() {
    let server = RedisServer::spawn();
    let proxy = Proxy::spawn(&server, 2 * SHORT_TIMEOUT).await;
    let processes = [0, 1, 2].map(|_| hasty(&proxy.url));
    let (question, paid) = (key(1), Arc::new(AtomicU32::new(0)));
    let got = processes.iter().map(|cache| {
        let paid = Arc::clone(&paid);
        cache.get_or_call(&question, move || async move { Ok::<_, io::Error>(paid.fetch_add(1, Ordering::SeqCst)) })
    });
    for got in futures_util::future::join_all(got).await {
        assert_eq!(*got.unwrap().value, 0);
    }
    for cache in processes {
        cache.close().await.unwrap();
    }
    assert_eq!((paid.load(Ordering::SeqCst), leases(&server)), (1, String::new()));
}

#[tokio::test]
async fn claim_timeout_is_skipped_during_outage() {
    let mut server = RedisServer::spawn();
    server.kill();
    let options = RedisOptions::new().redis_timeout(TIMEOUT).claim_timeout(10 * TIMEOUT);
    let cache = Cache::builder("tests").redis(options).open(&server.url()).unwrap();
    for n in 0..10 {
        timeout(TIMEOUT, put(&cache, n)).await.expect("nobody waits for a server that is away");
    }
}

#[tokio::test]
async fn claim_timeout_bounds_calls_while_redis_stalls() {
    let server = RedisServer::spawn();
    let redis = Redis::builder(server.url()).call_timeout(SHORT_TIMEOUT).probe_timeout(10 * TIMEOUT).spawn().unwrap();
    let cache = Cache::builder("tests").redis(RedisOptions::from(redis).claim_timeout(SHORT_TIMEOUT)).build().unwrap();
    put(&cache, 0).await;
    server.pause();
    for n in 1..10 {
        timeout(TIMEOUT, put(&cache, n)).await.expect("each waits for its own bounds alone");
    }
}

#[tokio::test]
async fn lease_of_departed_caller_is_released() {
    let server = RedisServer::spawn();
    let redis = Redis::builder(server.url()).call_timeout(SHORT_TIMEOUT).probe_timeout(TIMEOUT).spawn().unwrap();
    let options = RedisOptions::from(redis.clone()).claim_timeout(10 * TIMEOUT).invalidation_bound(60 * TIMEOUT);
    let cache = Cache::builder("tests").redis(options).build().unwrap();
    put(&cache, 0).await;
    cache.close().await.unwrap();
    server.pause();
    let timed_out = redis.stats().timed_out;
    let caller = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_call(&key(1), not_asked).await.map(drop) }
    });
    // The lookup has been given up, and the claim has been sent.
    until(|| redis.stats().timed_out > timed_out && redis.health().in_flight > 0).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    server.resume();
    cache.close().await.unwrap();
    assert_eq!(leases(&server), "");
}
