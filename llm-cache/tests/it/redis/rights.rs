//! Tests of the permissions of the server's user, as documented.

use std::time::Duration;

use llm_cache::{Cache, Tag};
use llm_testkit::redis::RedisServer;

use super::{key, not_asked, put};

#[tokio::test]
async fn redis_documented_acl_user_suffices() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/fleet.md")).unwrap();
    let from = page.find("ACL SETUSER shop").unwrap();
    let line = page[from..].split("```").next().unwrap();
    let server = RedisServer::spawn();
    server.command(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
    let url =
        format!("redis://shop:password@127.0.0.1:{}?prefix=shop&redis_timeout=20s&claim_timeout=20s", server.port());
    let [one, other] = [0, 1].map(|_| Cache::builder("tests").open(&url).unwrap());
    put(&one, 1).await;
    one.close().await.unwrap();
    assert!(other.get_or_call(&key(1), not_asked).await.is_ok());
    assert!(one.get_or_call(&key(2), not_asked).await.is_err(), "a lease is given back");
    one.invalidate(Tag::named("x")).await.unwrap();
    one.remove(&key(1)).await.unwrap();
    one.forget("acme").await.unwrap();
    one.list(None, 10).await.unwrap();
    put(&one, 3).await;
    one.close().await.unwrap();
    assert!(other.get_or_call(&key(3), not_asked).await.is_ok());
    one.clear().await.unwrap();
    one.close().await.unwrap();
    // Waits until the other process has received the invalidation.
    while other.get_or_call(&key(3), not_asked).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!((one.stats().store_errors, other.stats().store_errors), (0, 0));
}
