//! Tests of the number of round trips to Redis, as the server counts commands. A script counts as `evalsha`, and its
//! commands count too.

use std::{io, time::Duration};

use llm_cache::{Cache, RedisOptions, llm_redis::Redis};
use llm_testkit::redis::RedisServer;
use tokio::sync::oneshot;

use super::{TIMEOUT, handle, key, not_asked, put, until};

/// Opens a cache that sends commands only for calls.
async fn quiet(server: &RedisServer, first: u32) -> (Cache, Redis) {
    let redis = handle(server);
    let hour = Duration::from_secs(3600);
    let options = RedisOptions::from(redis.clone()).claim_timeout(TIMEOUT).invalidation_bound(hour);
    let cache = Cache::builder("tests").redis(options).build().expect("the settings are right");
    // The first call connects, requests the invalidations, and sends the scripts.
    put(&cache, first).await;
    cache.close().await.expect("it is written");
    // The calls are a lookup, a request for invalidations, a lease, a write, and another request for invalidations
    // after the subscription.
    until(|| redis.stats().calls >= 5).await;
    (cache, redis)
}

/// Returns the commands that the server has run since the last count.
fn done(server: &RedisServer) -> String {
    let stats = server.command(&["INFO", "commandstats"]).expect("it answers");
    server.command(&["CONFIG", "RESETSTAT"]).expect("it may be asked");
    let mut done: Vec<_> = stats.lines().filter_map(command).collect();
    done.sort_unstable();
    done.join(" ")
}

/// Returns `get=1` for a line `cmdstat_get:calls=1,usec=…`.
fn command(line: &str) -> Option<String> {
    let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
    let ours = name != "info" && !name.starts_with("config");
    ours.then(|| format!("{name}={}", rest.split(',').next().unwrap_or_default()))
}

#[tokio::test]
async fn round_trips_one_hit_two_miss() {
    let server = RedisServer::spawn();
    let ((one, _), (other, _)) = (quiet(&server, 100).await, quiet(&server, 200).await);
    put(&one, 1).await;
    one.close().await.unwrap();
    done(&server);
    other.get_or_call(&key(1), not_asked).await.unwrap();
    assert_eq!(done(&server), "get=1", "a hit");
    other.get_or_call(&key(1), not_asked).await.unwrap();
    assert_eq!(done(&server), "", "a hit in memory");

    let (asked, was_asked) = oneshot::channel();
    let (respond, response) = oneshot::channel();
    let call = move || async move {
        asked.send(()).unwrap();
        response.await.map_err(io::Error::other)
    };
    let key = key(2);
    let (got, ()) = tokio::join!(other.get_or_call(&key, call), async {
        was_asked.await.unwrap();
        assert_eq!(done(&server), "evalsha=1 get=2 getrange=1 set=1", "a miss that leads looks and asks for the lease");
        respond.send(7).unwrap();
    });
    assert_eq!(*got.unwrap().value, 7);
    other.close().await.unwrap();
    assert_eq!(done(&server), "del=1 evalsha=1 get=1 publish=1 set=1", "its answer is written, and its lease ended");
}

#[tokio::test]
async fn round_trips_one_for_local_waiter() {
    let server = RedisServer::spawn();
    let (cache, redis) = quiet(&server, 100).await;
    done(&server);
    let (question, before) = (key(1), redis.stats().calls);
    let askers = (0..10).map(|_| {
        let redis = redis.clone();
        cache.get_or_call(&question, move || async move {
            // All callers have looked the entry up, and this one has the lease.
            until(|| redis.stats().calls >= before + 11).await;
            Ok::<u32, io::Error>(7)
        })
    });
    assert!(futures_util::future::join_all(askers).await.iter().all(Result::is_ok));
    cache.close().await.unwrap();
    assert_eq!(done(&server), "del=1 evalsha=2 get=12 getrange=1 publish=1 set=2", "each looks, one leads and writes");
}

#[tokio::test]
async fn round_trips_four_for_waiter_elsewhere() {
    let server = RedisServer::spawn();
    let ((one, _), (other, redis)) = (quiet(&server, 100).await, quiet(&server, 200).await);
    let (respond, response) = oneshot::channel();
    let leader = tokio::spawn({
        let one = one.clone();
        async move {
            one.get_or_call(&key(1), || async { response.await.map_err(io::Error::other) }).await.map(|got| *got.value)
        }
    });
    until(|| one.stats().leased >= 2).await;
    done(&server);
    let before = redis.stats().calls;
    let waiter = tokio::spawn(async move { other.get_or_call(&key(1), not_asked).await.map(|got| *got.value) });
    until(|| redis.stats().calls >= before + 3).await;
    let waiting = done(&server);
    assert_eq!(waiting, "evalsha=2 get=3 getrange=2 pttl=2 subscribe=1", "look, ask for the lease, look again");
    respond.send(7).unwrap();
    assert_eq!((leader.await.unwrap().unwrap(), waiter.await.unwrap().unwrap()), (7, 7));
    let woken = done(&server);
    assert!(
        woken.contains("evalsha=2") && woken.contains("getrange=1"),
        "the answer is written, and looked at: {woken}"
    );
    assert_eq!(redis.stats().calls - before, 4);
}
