//! Commands, scripts, batches and time.

use std::time::Duration;

use llm_redis::{Command, ConnectionState, ErrorKind, Script, Value};
use llm_testkit::redis::RedisServer;

use crate::{builder, open};

#[tokio::test]
async fn values_are_bytes_whatever_they_mean() {
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
async fn a_conditional_set_tells_who_was_first_and_expires() {
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
async fn a_batch_answers_in_order_with_errors_in_their_places() {
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
async fn a_script_is_sent_by_hash_and_again_whole_after_a_flush() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    let place = redis.key_space().tag("books");
    let (a, b) = (place.key("a"), place.key("b"));
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
async fn scripts_and_clients_see_one_time_that_tests_shift() {
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
async fn keys_of_two_places_are_refused_before_they_are_sent() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    let (a, b) = (redis.key_space().tag("a").key("k"), redis.key_space().tag("b").key("k"));
    let error = redis.run(Script::new("return 1").with_keys(&[&a, &b])).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::CrossSlot, false));
    assert_eq!(redis.health().state, ConnectionState::Idle, "nothing was connected");
}

#[tokio::test]
async fn names_stay_clear_of_other_prefixes() {
    let server = RedisServer::spawn();
    let redis = builder(&server.url()).prefix("shop").spawn().unwrap();
    redis.run(Command::set(&redis.key_space().tag("p").key("k"), "v")).await.unwrap();
    assert_eq!(server.command(&["KEYS", "*"]).as_deref(), Ok("shop:v1:{p}:k"));
}

#[tokio::test]
async fn one_connection_serves_all_clones_and_a_database_is_chosen() {
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
async fn more_than_may_be_in_flight_fails_at_once() {
    let server = RedisServer::spawn();
    let redis = builder(&server.url()).max_in_flight(2).spawn().unwrap();
    let key = redis.key_space().tag("p").key("k");
    redis.run(Command::get(&key)).await.unwrap();
    server.stop();
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
    server.cont();
    for call in stalled {
        call.await.unwrap().unwrap();
    }
    assert_eq!(redis.stats().busy, 1);
}

#[tokio::test]
async fn close_drains_and_lets_nothing_in() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    let key = redis.key_space().tag("p").key("k");
    let mut wakes = redis.subscribe(&key).unwrap();
    let last = {
        let (redis, key) = (redis.clone(), key.clone());
        tokio::spawn(async move { redis.run(Command::set(&key, "v")).await })
    };
    while redis.stats().connections == 0 || !last.is_finished() && redis.health().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    redis.close().await;
    last.await.unwrap().unwrap();
    while wakes.next().await.is_some() {}
    let clone = redis.clone();
    assert_eq!(clone.run(Command::get(&key)).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(clone.subscribe(&key).unwrap_err().kind(), ErrorKind::Closed);
    redis.close().await;
    assert_eq!(clone.health().state, ConnectionState::Closed);
}

#[tokio::test]
async fn whoever_comes_while_it_drains_is_told_that_it_was_closed() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    let key = redis.key_space().tag("p").key("k");
    redis.run(Command::get(&key)).await.unwrap();
    server.stop();
    let (get, close) = (redis.run(Command::get(&key)), redis.close());
    let (last, (), late) = tokio::join!(get, close, async {
        while redis.health().state != ConnectionState::Closed {
            tokio::task::yield_now().await;
        }
        let late = redis.run(Command::get(&key)).await;
        server.cont();
        late
    });
    assert!(last.is_ok());
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn the_last_clone_closes_the_connection() {
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
