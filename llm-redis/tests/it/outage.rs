//! Redis down at start, down later, stalled, back again.

use std::{net::TcpListener, time::Duration};

use llm_redis::{Command, ConnectionState, ErrorKind, Event, Key, Redis, Script};
use llm_testkit::redis::RedisServer;
use tokio::time::Instant;

use crate::{ALLOWANCE, answered, builder, open, wait_for};

/// A bound that no test reaches.
const PATIENCE: Duration = Duration::from_secs(60);

fn key(redis: &Redis) -> Key {
    redis.key_space().tag("p").key("k")
}

/// How long a call took that must fail.
async fn fails(redis: &Redis) -> (ErrorKind, Duration) {
    let start = Instant::now();
    let error = redis.run(Command::get(&key(redis))).await.unwrap_err();
    assert!(error.is_outage(), "{error}");
    (error.kind(), start.elapsed())
}

#[tokio::test]
async fn down_at_start_it_fails_at_once_and_comes_up_by_itself() {
    let mut server = RedisServer::spawn();
    server.kill();
    let redis = open(&server.url());
    let mut events = redis.events();
    let (kind, waited) = fails(&redis).await;
    assert!(kind == ErrorKind::Unavailable && waited < ALLOWANCE, "{kind:?} after {waited:?}");
    let error = redis.health().outage.unwrap();
    assert!(error.kind() == ErrorKind::Connection && error.to_string().contains("refused"), "{error}");
    assert_eq!(redis.health().state, ConnectionState::Unavailable);
    server.restart();
    wait_for(&mut events, |event| matches!(event, Event::Recovered)).await;
    redis.run(Command::get(&key(&redis))).await.unwrap();
    assert!(redis.health().outage.is_none() && redis.health().state == ConnectionState::Connected);
}

#[tokio::test]
async fn killed_and_restarted_calls_fail_at_once_in_between() {
    let mut server = RedisServer::spawn();
    let redis = open(&server.url());
    let mut events = redis.events();
    redis.run(Command::set(&key(&redis), "v")).await.unwrap();
    server.kill();
    let event = wait_for(&mut events, |event| matches!(event, Event::Unavailable(_))).await;
    assert!(matches!(event, Event::Unavailable(error) if error.kind() == ErrorKind::Connection));
    for _ in 0..50 {
        let (kind, waited) = fails(&redis).await;
        assert!(kind == ErrorKind::Unavailable && waited < ALLOWANCE, "{kind:?} after {waited:?}");
    }
    server.restart();
    wait_for(&mut events, |event| matches!(event, Event::Recovered)).await;
    assert!(redis.run(Command::get(&key(&redis))).await.unwrap().is_nil(), "the new server is empty");
    assert!(redis.stats().refused >= 50 && redis.stats().connections == 2);
}

#[tokio::test]
async fn a_connection_that_breaks_each_time_is_replaced_with_pauses() {
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
async fn a_connection_that_breaks_is_replaced_under_a_call() {
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
async fn stalled_a_call_waits_its_time_out_and_the_breaker_ends_the_waiting() {
    let server = RedisServer::spawn();
    let bound = Duration::from_millis(50);
    let settings = builder(&server.url()).call_timeout(bound).connect_timeout(bound * 4).probe_timeout(bound * 2);
    let redis = settings.spawn().unwrap();
    let mut events = redis.events();
    answered(&redis, &key(&redis)).await;
    server.stop();
    let mut timed_out = 0;
    loop {
        let (kind, waited) = fails(&redis).await;
        assert!(waited < bound + ALLOWANCE, "{kind:?} after {waited:?}");
        match kind {
            ErrorKind::Timeout => timed_out += 1,
            ErrorKind::Unavailable => break,
            kind => panic!("{kind:?}"),
        }
    }
    assert!(timed_out > 0, "a call waits until the keeper knows");
    for _ in 0..20 {
        assert_eq!(fails(&redis).await.0, ErrorKind::Unavailable);
    }
    server.cont();
    wait_for(&mut events, |event| matches!(event, Event::Recovered)).await;
    answered(&redis, &key(&redis)).await;
}

#[tokio::test]
async fn a_time_out_says_that_the_command_may_have_run() {
    let server = RedisServer::spawn();
    let redis = builder(&server.url()).call_timeout(Duration::from_millis(300)).spawn().unwrap();
    answered(&redis, &key(&redis)).await;
    server.stop();
    let error = redis.run(Command::set(&key(&redis), "late")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && error.may_have_run(), "{error}");
    server.cont();
    while server.command(&["GET", key(&redis).as_str()]).as_deref() != Ok("late") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn call_timeout_bounds_calls_until_connect_timeout_opens_breaker() {
    // It takes connections, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let bound = Duration::from_millis(50);
    let redis = builder(&url).call_timeout(bound).connect_timeout(bound * 3).spawn().unwrap();
    let mut events = redis.events();
    let (kind, waited) = fails(&redis).await;
    assert!(kind == ErrorKind::Timeout && waited < bound + ALLOWANCE, "{kind:?} after {waited:?}");
    wait_for(&mut events, |event| matches!(event, Event::Unavailable(_))).await;
    assert_eq!(fails(&redis).await.0, ErrorKind::Unavailable);
    assert_eq!(redis.stats().timed_out, 1);
}

#[tokio::test]
async fn silence_to_open_outlasts_calls_that_time_out() {
    let server = RedisServer::spawn();
    let redis = builder(&server.url()).call_timeout(Duration::from_millis(1)).spawn().unwrap();
    while redis.run_with_timeout(PATIENCE, Command::get(&key(&redis))).await.is_err() {}
    // Every call is too short while a script keeps the server busy, and the server is there.
    let busy = Script::new("local till = now() + 150000 while now() < till do end return 1");
    let (patient, hasty) = tokio::join!(redis.run_with_timeout(PATIENCE, busy.with_keys(&[&key(&redis)])), async {
        let mut hasty = Vec::new();
        while hasty.len() < 20 {
            hasty.push(redis.run(Command::get(&key(&redis))).await.map_err(|error| error.kind()));
        }
        hasty
    });
    assert!(patient.unwrap().into_int().unwrap() == 1 && hasty.contains(&Err(ErrorKind::Timeout)), "{hasty:?}");
    redis.run_with_timeout(PATIENCE, Command::get(&key(&redis))).await.unwrap();
    assert_eq!((redis.stats().breaker_opened, redis.stats().refused), (0, 0));
}

#[tokio::test]
async fn run_within_waits_for_room_until_its_bound() {
    let server = RedisServer::spawn();
    let redis = builder(&server.url()).max_in_flight(1).spawn().unwrap();
    answered(&redis, &key(&redis)).await;
    let slow = Script::new("local till = now() + 100000 while now() < till do end return 1");
    let (slow, hasty, patient) = tokio::join!(
        redis.run(slow.with_keys(&[&key(&redis)])),
        redis.run(Command::get(&key(&redis))),
        redis.run_with_timeout(PATIENCE, Command::get(&key(&redis))),
    );
    assert!(slow.is_ok() && patient.is_ok());
    assert_eq!(hasty.unwrap_err().kind(), ErrorKind::Busy);
}

#[tokio::test]
async fn run_within_fails_at_once_while_breaker_is_open() {
    let mut server = RedisServer::spawn();
    server.kill();
    let redis = builder(&server.url()).probe_backoff(PATIENCE, PATIENCE).spawn().unwrap();
    for _ in 0..2 {
        let error = redis.run_with_timeout(PATIENCE, Command::get(&key(&redis))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn after_a_failover_the_primary_is_looked_for_again() {
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

#[tokio::test]
async fn under_load_an_outage_fails_nobody_late() {
    let mut server = RedisServer::spawn();
    let bound = Duration::from_millis(50);
    let redis = builder(&server.url()).call_timeout(bound).spawn().unwrap();
    let mut events = redis.events();
    answered(&redis, &key(&redis)).await;
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let redis = redis.clone();
            tokio::spawn(async move {
                let (mut longest, key) = (Duration::ZERO, key(&redis));
                for _ in 0..100 {
                    let start = Instant::now();
                    let _ = redis.run(Command::get(&key)).await;
                    longest = longest.max(start.elapsed());
                    tokio::task::yield_now().await;
                }
                longest
            })
        })
        .collect();
    server.kill();
    server.restart();
    for caller in callers {
        let longest = caller.await.unwrap();
        assert!(longest < bound + ALLOWANCE, "{longest:?}");
    }
    if redis.health().outage.is_some() {
        wait_for(&mut events, |event| matches!(event, Event::Recovered)).await;
    }
    answered(&redis, &key(&redis)).await;
}
