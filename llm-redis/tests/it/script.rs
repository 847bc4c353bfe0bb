//! Scripts: loading, keys and time.

use llm_redis::{ConnectionState, ErrorKind, Script, Value};
use llm_testkit::redis::RedisServer;

use crate::open;

#[tokio::test]
async fn script_is_loaded_again_after_flush() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    let tag = redis.key_space().tag("books");
    let (a, b) = (tag.key("a"), tag.key("b"));
    let script = Script::new(
        "redis.call('SET', KEYS[1], ARGV[1]) redis.call('SET', KEYS[2], ARGV[2]) return {#KEYS, #ARGV, ARGV[2]}",
    );
    for round in 1..=3 {
        let reply = redis.run(script.with_keys(&[&a, &b]).arg(7i64).arg(&b"\x00\xff"[..])).await.unwrap();
        let wanted = [Value::Int(2), Value::Int(2), Value::Bytes((&b"\x00\xff"[..]).into())];
        assert_eq!(reply.into_list().unwrap(), wanted, "round {round}");
        // The first round and the one after the flush.
        assert_eq!(redis.stats().scripts_loaded, [1, 1, 2][round - 1]);
        if round == 2 {
            server.command(&["SCRIPT", "FLUSH"]).unwrap();
        }
    }
}

#[tokio::test]
async fn set_clock_offset_shifts_scripts_and_time() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    let key = redis.key_space().tag("clock").key("none");
    let script = Script::new("return string.format('%d', now())");
    let hour = 3_600_000_000;
    redis.run(script.with_keys(&[&key])).await.unwrap();
    let before = redis.time().await.unwrap();
    redis.set_clock_offset(hour);
    let inside = redis.run(script.with_keys(&[&key])).await.unwrap().into_int().unwrap();
    let after = redis.time().await.unwrap();
    let micros = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64;
    assert!(micros(before) + hour <= inside && inside <= micros(after), "{inside}");
    redis.set_clock_offset(-hour);
    assert!(redis.time().await.unwrap() < before);
}

#[tokio::test]
async fn script_with_cross_slot_keys_is_refused() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    let (a, b) = (redis.key_space().tag("a").key("k"), redis.key_space().tag("b").key("k"));
    let error = redis.run(Script::new("return 1").with_keys(&[&a, &b])).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::CrossSlot, false));
    assert_eq!(redis.health().state, ConnectionState::Idle, "nothing was connected");
}
