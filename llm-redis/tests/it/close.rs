//! Closing of a client, and the end of its last clone.

use llm_redis::{Command, ConnectionState, ErrorKind};
use llm_testkit::redis::RedisServer;

use crate::open;

#[tokio::test]
async fn close_drains_and_refuses_further_calls() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    let key = redis.key_space().tag("p").key("k");
    let mut notifications = redis.subscribe(&key).unwrap();
    let last = {
        let (redis, key) = (redis.clone(), key.clone());
        tokio::spawn(async move { redis.run(Command::set(&key, "v")).await })
    };
    while redis.stats().connections == 0 || !last.is_finished() && redis.health().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    redis.close().await;
    last.await.unwrap().unwrap();
    while notifications.next().await.is_some() {}
    let clone = redis.clone();
    assert_eq!(clone.run(Command::get(&key)).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(clone.subscribe(&key).unwrap_err().kind(), ErrorKind::Closed);
    redis.close().await;
    assert_eq!(clone.health().state, ConnectionState::Closed);
}

#[tokio::test]
async fn close_while_draining_refuses_with_closed() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    let key = redis.key_space().tag("p").key("k");
    redis.run(Command::get(&key)).await.unwrap();
    server.pause();
    let (get, close) = (redis.run(Command::get(&key)), redis.close());
    let (last, (), late) = tokio::join!(get, close, async {
        while redis.health().state != ConnectionState::Closed {
            tokio::task::yield_now().await;
        }
        let late = redis.run(Command::get(&key)).await;
        server.resume();
        late
    });
    assert!(last.is_ok());
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn last_clone_closes_connection() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    let clients = || server.command(&["CLIENT", "LIST"]).unwrap().lines().filter(|l| l.contains("resp=3")).count();
    redis.time().await.unwrap();
    let clone = redis.clone();
    drop(redis);
    assert!(clone.time().await.is_ok() && clients() == 1);
    drop(clone);
    while clients() > 0 {
        tokio::task::yield_now().await;
    }
}
