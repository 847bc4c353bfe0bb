//! How often Redis is asked.

use std::{io, time::Duration};

use llm_cache::{Cache, llm_redis::Redis};
use llm_testkit::redis::RedisServer;
use tokio::sync::oneshot;

use super::{handle, key, not_asked, put};

/// A cache whose round trips can be counted: nothing is asked behind the calls.
async fn counted(server: &RedisServer, first: u32) -> (Cache, Redis) {
    let redis = handle(server);
    let hour = Duration::from_secs(3600);
    let cache = Cache::builder("tests").redis(redis.clone()).invalidated_within(hour).build();
    let cache = cache.expect("the settings are right");
    // It connects, learns what was invalidated, and sends its scripts.
    put(&cache, first).await;
    cache.close().await.expect("it is written");
    // Look and ask what was invalidated, lease, store; and ask again when it listens.
    while redis.stats().calls < 5 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (cache, redis)
}

#[tokio::test]
async fn one_for_a_hit_two_for_a_miss_and_one_behind_it() {
    let server = RedisServer::spawn();
    let ((one, _), (other, redis)) = (counted(&server, 100).await, counted(&server, 200).await);
    let mut before = redis.stats().calls;
    let mut trips = || {
        let now = redis.stats().calls;
        now - std::mem::replace(&mut before, now)
    };
    put(&one, 1).await;
    one.close().await.unwrap();
    other.get_or_call(&key(1), not_asked).await.unwrap();
    assert_eq!(trips(), 1, "a hit");
    other.get_or_call(&key(1), not_asked).await.unwrap();
    assert_eq!(trips(), 0, "a hit in memory");
    let count = {
        let (redis, before) = (redis.clone(), redis.stats().calls);
        move || async move { Ok::<_, io::Error>(redis.stats().calls - before) }
    };
    let on_the_way = *other.get_or_call(&key(2), count).await.unwrap().value;
    other.close().await.unwrap();
    assert_eq!((on_the_way, trips()), (2, 3), "a miss that leads, and its answer's way into Redis");
}

#[tokio::test]
async fn four_for_whoever_waits_for_another_process() {
    let server = RedisServer::spawn();
    let ((one, _), (other, redis)) = (counted(&server, 100).await, counted(&server, 200).await);
    let (answer, answered) = oneshot::channel();
    let leader = tokio::spawn({
        let one = one.clone();
        async move {
            one.get_or_call(&key(1), || async { answered.await.map_err(io::Error::other) }).await.map(|got| *got.value)
        }
    });
    while one.stats().leased < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let before = redis.stats().calls;
    let waiter = tokio::spawn(async move { other.get_or_call(&key(1), not_asked).await.map(|got| *got.value) });
    while redis.stats().calls < before + 3 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    answer.send(7).unwrap();
    assert_eq!((leader.await.unwrap().unwrap(), waiter.await.unwrap().unwrap()), (7, 7));
    assert_eq!(redis.stats().calls - before, 4, "look, ask for the lease, look when it listens, look when it is woken");
}
