//! Commands, pipelines, names of keys, and databases.

use std::time::Duration;

use llm_redis::{Command, ErrorKind, Value};
use llm_testkit::redis::RedisServer;

use crate::{builder, open};

#[tokio::test]
async fn command_values_keep_every_byte() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    let key = redis.key_space().hashed_tag(&[b"acme"]).key("entry");
    let every_byte: Vec<u8> = (0..=255).chain(*b"\r\n$-1\r\n").collect();
    assert!(redis.run(Command::get(&key)).await.unwrap().is_nil());
    redis.run(Command::set(&key, &every_byte)).await.unwrap();
    assert_eq!(redis.run(Command::get(&key)).await.unwrap().into_bytes().unwrap().unwrap(), every_byte);
    assert_eq!(redis.run(Command::del(&key)).await.unwrap(), Value::Int(1));
}

#[tokio::test]
async fn if_absent_sets_once_and_expires() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    let key = redis.key_space().tag("lease").key("holder");
    let take = |who: &str| redis.run(Command::set(&key, who).if_absent().expires_in(Duration::from_secs(60)));
    assert_eq!(take("one").await.unwrap(), Value::Status("OK".into()));
    assert!(take("two").await.unwrap().is_nil());
    let left = redis.run(Command::new("PTTL", &key)).await.unwrap().into_int().unwrap();
    assert!((1..=60_000).contains(&left), "{left}");
}

#[tokio::test]
async fn run_pipeline_returns_results_in_order() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    let keys: Vec<_> = (0u32..3).map(|n| redis.key_space().hashed_tag(&[&n.to_le_bytes()]).key("k")).collect();
    redis.run(Command::set(&keys[0], "a")).await.unwrap();
    redis.run(Command::new("LPUSH", &keys[1]).arg("item")).await.unwrap();
    let replies = redis.run_pipeline(keys.iter().map(Command::get).collect()).await;
    assert_eq!(replies[0].as_ref().unwrap(), &Value::Bytes("a".into()));
    assert_eq!(replies[1].as_ref().unwrap_err().kind(), ErrorKind::Server, "GET of a list");
    assert!(replies[2].as_ref().unwrap().is_nil());
    assert!(redis.run_pipeline(Vec::new()).await.is_empty());
}

#[tokio::test]
async fn prefix_begins_every_key() {
    let server = RedisServer::spawn();
    let redis = builder(&server.url()).prefix("shop").spawn().unwrap();
    redis.run(Command::set(&redis.key_space().tag("p").key("k"), "v")).await.unwrap();
    assert_eq!(server.command(&["KEYS", "*"]).as_deref(), Ok("shop:v1:{p}:k"));
}

#[tokio::test]
async fn clones_share_one_connection_and_database() {
    let server = RedisServer::spawn();
    let redis = open(&format!("{}/3", server.url()));
    let key = redis.key_space().tag("p").key("k");
    let all = (0..200).map(|n: u32| {
        let (redis, key) = (redis.clone(), key.clone());
        tokio::spawn(async move { redis.run(Command::set(&key, n.to_string())).await })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap().unwrap();
    }
    assert_eq!(redis.stats().connections, 1);
    assert!(server.command(&["INFO", "keyspace"]).unwrap().contains("db3:keys=1"));
}

#[tokio::test]
async fn hash_secret_separates_hashed_keys() {
    let server = RedisServer::spawn();
    let [first, same, other] =
        ["one", "one", "two"].map(|secret| builder(&server.url()).hash_secret(secret).spawn().unwrap());
    let key = |redis: &llm_redis::Redis| redis.key_space().hashed_tag(&[b"acme"]).key("k");
    first.run(Command::set(&key(&first), "v")).await.unwrap();
    assert_eq!(same.run(Command::get(&key(&same))).await.unwrap().into_bytes().unwrap().unwrap(), "v");
    assert!(other.run(Command::get(&key(&other))).await.unwrap().is_nil());
}
