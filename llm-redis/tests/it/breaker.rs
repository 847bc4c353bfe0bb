//! Breaker and timeouts: a server that is down at start, down later, stalled, and back again.

use std::{net::TcpListener, time::Duration};

use llm_redis::{Command, ConnectionState, ErrorKind, Event, Redis, Script};
use llm_testkit::redis::RedisServer;
use tokio::time::Instant;

use crate::{ALLOWANCE, MAX_WAIT, answered, builder, key, open, wait_for};

/// Returns the kind of a call's error, and the time that the call took.
async fn fails(redis: &Redis) -> (ErrorKind, Duration) {
    let start = Instant::now();
    let error = redis.run(Command::get(&key(redis))).await.unwrap_err();
    assert!(error.is_outage(), "{error}");
    (error.kind(), start.elapsed())
}

#[tokio::test]
async fn breaker_opens_at_start_and_recovers() {
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
async fn breaker_refuses_calls_until_restart() {
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
async fn call_timeout_bounds_calls_until_breaker_opens() {
    let server = RedisServer::spawn();
    let bound = Duration::from_millis(50);
    let settings = builder(&server.url()).call_timeout(bound).connect_timeout(bound * 4).probe_timeout(bound * 2);
    let redis = settings.spawn().unwrap();
    let mut events = redis.events();
    answered(&redis, &key(&redis)).await;
    server.pause();
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
    server.resume();
    wait_for(&mut events, |event| matches!(event, Event::Recovered)).await;
    answered(&redis, &key(&redis)).await;
}

#[tokio::test]
async fn call_timeout_reports_may_have_run() {
    let server = RedisServer::spawn();
    let redis = builder(&server.url()).call_timeout(Duration::from_millis(300)).spawn().unwrap();
    answered(&redis, &key(&redis)).await;
    server.pause();
    let error = redis.run(Command::set(&key(&redis), "late")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && error.may_have_run(), "{error}");
    server.resume();
    while server.command(&["GET", key(&redis).as_str()]).as_deref() != Ok("late") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn connect_timeout_opens_breaker_on_silent_server() {
    // It accepts connections and never replies.
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
async fn probe_timeout_outlasts_shorter_call_timeouts() {
    let server = RedisServer::spawn();
    let redis = builder(&server.url()).call_timeout(Duration::from_millis(1)).spawn().unwrap();
    while redis.run_with_timeout(MAX_WAIT, Command::get(&key(&redis))).await.is_err() {}
    // While a script keeps the server busy, every short call times out, but the server is available.
    let busy_script = Script::new("local till = now() + 150000 while now() < till do end return 1");
    let (long_call, short_calls) =
        tokio::join!(redis.run_with_timeout(MAX_WAIT, busy_script.with_keys(&[&key(&redis)])), async {
            let mut short_calls = Vec::new();
            while short_calls.len() < 20 {
                short_calls.push(redis.run(Command::get(&key(&redis))).await.map_err(|error| error.kind()));
            }
            short_calls
        });
    assert!(
        long_call.unwrap().into_int().unwrap() == 1 && short_calls.contains(&Err(ErrorKind::Timeout)),
        "{short_calls:?}"
    );
    redis.run_with_timeout(MAX_WAIT, Command::get(&key(&redis))).await.unwrap();
    assert_eq!((redis.stats().breaker_opened, redis.stats().refused), (0, 0));
}

#[tokio::test]
async fn breaker_bounds_every_call_under_load() {
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

#[tokio::test]
async fn failure_threshold_opens_breaker_after_failures() {
    let server = RedisServer::spawn();
    let not_ready = Script::new("return redis.error_reply('LOADING the data set')");
    for threshold in 1..=3 {
        let redis = builder(&server.url()).failure_threshold(threshold).spawn().unwrap();
        for failure in 1..=threshold {
            assert_eq!(redis.stats().breaker_opened, 0, "before failure {failure} of {threshold}");
            let error = redis.run(not_ready.with_keys(&[&key(&redis)])).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotReady, "{error}");
        }
        assert_eq!(redis.stats().breaker_opened, 1, "after {threshold} failures");
    }
}
