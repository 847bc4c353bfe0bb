//! Replacement of connections that broke or lead to a replica.

use std::time::Duration;

use llm_redis::{Command, ErrorKind, Event};
use llm_testkit::redis::RedisServer;
use tokio::time::Instant;

use crate::{answered, key, open, wait_for};

#[tokio::test]
async fn reconnect_pauses_between_broken_connections() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    answered(&redis, &key(&redis)).await;
    let start = Instant::now();
    for _ in 0..4 {
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
        answered(&redis, &key(&redis)).await;
    }
    assert!(start.elapsed() >= Duration::from_millis(300) && redis.stats().connections >= 5, "{:?}", redis.stats());
}

#[tokio::test]
async fn reconnect_serves_call_on_broken_connection() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    let mut events = redis.events();
    redis.run(Command::set(&key(&redis), "v")).await.unwrap();
    for _ in 0..5 {
        server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).unwrap();
        let value = redis.run(Command::get(&key(&redis))).await.unwrap();
        assert_eq!(value.into_bytes().unwrap().unwrap(), "v");
    }
    wait_for(&mut events, |event| matches!(event, Event::Disconnected)).await;
    assert_eq!((redis.stats().breaker_opened, redis.health().outage.is_none()), (0, true));
}

#[tokio::test]
async fn reconnect_follows_failover_of_read_only_server() {
    let primary = RedisServer::spawn();
    let server = RedisServer::builder().replica_of(&primary).spawn();
    let redis = open(&server.url());
    let mut events = redis.events();
    let error = redis.run(Command::set(&key(&redis), "v")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    wait_for(&mut events, |event| matches!(event, Event::Connected)).await;
    wait_for(&mut events, |event| matches!(event, Event::Connected)).await;
    assert!(redis.health().outage.is_none(), "reading goes on all the while");
}
