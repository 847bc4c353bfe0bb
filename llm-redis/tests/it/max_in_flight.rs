//! `max_in_flight`, and `run_with_timeout`, which waits for it.

use llm_redis::{Command, ErrorKind, Script};
use llm_testkit::redis::RedisServer;

use crate::{MAX_WAIT, answered, builder, key};

#[tokio::test]
async fn max_in_flight_exceeded_fails_at_once() {
    let server = RedisServer::spawn();
    let redis = builder(&server.url()).max_in_flight(2).spawn().unwrap();
    let key = redis.key_space().tag("p").key("k");
    redis.run(Command::get(&key)).await.unwrap();
    server.pause();
    let stalled: Vec<_> = (0..2)
        .map(|_| {
            let (redis, key) = (redis.clone(), key.clone());
            tokio::spawn(async move { redis.run(Command::get(&key)).await })
        })
        .collect();
    while redis.health().in_flight < 2 {
        tokio::task::yield_now().await;
    }
    let error = redis.run(Command::get(&key)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_outage()), (ErrorKind::Busy, true));
    server.resume();
    for call in stalled {
        call.await.unwrap().unwrap();
    }
    assert_eq!(redis.stats().busy, 1);
}

#[tokio::test]
async fn run_with_timeout_waits_for_free_permit() {
    let server = RedisServer::spawn();
    let redis = builder(&server.url()).max_in_flight(1).spawn().unwrap();
    answered(&redis, &key(&redis)).await;
    let slow_script = Script::new("local till = now() + 100000 while now() < till do end return 1");
    let (slow, refused, waiting) = tokio::join!(
        redis.run(slow_script.with_keys(&[&key(&redis)])),
        redis.run(Command::get(&key(&redis))),
        redis.run_with_timeout(MAX_WAIT, Command::get(&key(&redis))),
    );
    assert!(slow.is_ok() && waiting.is_ok());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Busy);
}

#[tokio::test]
async fn run_with_timeout_fails_while_breaker_open() {
    let mut server = RedisServer::spawn();
    server.kill();
    let redis = builder(&server.url()).probe_backoff(MAX_WAIT, MAX_WAIT).spawn().unwrap();
    for _ in 0..2 {
        let error = redis.run_with_timeout(MAX_WAIT, Command::get(&key(&redis))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
