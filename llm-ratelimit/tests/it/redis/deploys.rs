//! Tests of several processes that start and end: a burst by all at once, and a rolling restart.

use std::sync::mpsc::{Receiver, channel};

use futures_util::future::join_all;
use llm_testkit::redis::RedisServer;

use super::{
    TIMEOUT, accounts, ask, build,
    child::{Child, ready},
    level, open, settled, used,
};

const PROCESSES: usize = 4;
const BUDGET: [&str; 1] = ["100000000 tokens/month"];

/// Makes `calls` calls at once, and prints how many were granted.
pub(super) async fn burst(redis: &str, calls: usize) {
    let limiter = build(accounts(redis), &["60/minute"], |builder| builder).await;
    ready();
    let demand = ask("a");
    let granted = join_all((0..calls).map(|_| limiter.reserve(&demand))).await.into_iter().flatten();
    println!("child granted {}", granted.map(|reservation| reservation.settle(used(1))).count());
    limiter.close().await.expect("there is a runtime");
}

/// Makes calls one after the other until the test stops the process. Prints the usage of each call, and closes the limiter.
pub(super) async fn serve(redis: &str, is_chunked: bool) {
    let limiter = build(accounts(redis).chunked(move |_, _| is_chunked), &BUDGET, |builder| builder).await;
    ready();
    let stops = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    let mut tokens = 1;
    while !stops.is_finished() {
        tokens = tokens % 97 + 1;
        let reservation = limiter.reserve(&ask("a").tokens(100, 0)).await.expect("there is room");
        println!("child used {tokens}");
        reservation.settle(used(tokens));
        tokio::task::yield_now().await;
    }
    assert_eq!(limiter.close().await, Ok(0));
}

/// Returns the next line of any process, and the number of the process.
fn next(said: &Receiver<(usize, Option<String>)>) -> (usize, Option<String>) {
    said.recv_timeout(3 * TIMEOUT).expect("a process says something")
}

#[test]
fn processes_share_sixty_a_minute() {
    let server = RedisServer::spawn();
    let (says, said) = channel();
    let start = |n: usize| Child::spawn(&format!("burst {} 75", server.url()), n, says.clone());
    let mut children: Vec<_> = (0..PROCESSES).map(start).collect();
    for _ in 0..PROCESSES {
        assert_eq!(next(&said).1.as_deref(), Some("ready"));
    }
    children.iter_mut().for_each(Child::go);
    let (mut granted, mut ended) = (0, 0);
    while ended < PROCESSES {
        match next(&said).1 {
            Some(line) => granted += line.strip_prefix("granted ").map_or(0, |n| n.parse().expect("a number")),
            None => ended += 1,
        }
    }
    println!("{granted} of 300 were granted");
    // On a busy machine, the bucket may drain by one or two during the test.
    assert!((60..63).contains(&granted), "{granted} of 300");
}

/// Restarts four processes one after the other under load. Returns the usage of all calls.
fn restart(server: &RedisServer, is_chunked: bool) -> u64 {
    let (says, said) = channel();
    let start = |n: usize| Child::spawn(&format!("serve {} {is_chunked}", server.url()), n, says.clone());
    let mut children: Vec<_> = (0..PROCESSES).map(start).collect();
    let (mut sum, mut calls, mut ended) = (0, [0; 2 * PROCESSES], 0);
    while ended < 2 * PROCESSES {
        let (process, line) = next(&said);
        let Some(line) = line else {
            ended += 1;
            if children.len() < 2 * PROCESSES {
                children.push(start(children.len()));
            }
            continue;
        };
        if line == "ready" {
            children[process].go();
        } else if let Some(tokens) = line.strip_prefix("used ") {
            sum += tokens.parse::<u64>().expect("a number");
            calls[process] += 1;
            let is_next = process == 0 || process >= PROCESSES || calls[process - 1] >= 10;
            if calls[process] == 10 && is_next || calls[process] == 40 {
                children[process].stop();
            }
        }
    }
    assert!(calls.iter().all(|calls| *calls >= 10), "each process made calls: {calls:?}");
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rolling_restart_loses_and_doubles_nothing() {
    for is_chunked in [false, true] {
        let server = RedisServer::spawn();
        let sum = restart(&server, is_chunked);
        let limiter = open(&server, &BUDGET).await;
        settled(&limiter).await;
        println!("rolling restart, chunks {is_chunked}: {sum} tokens used, {:?} counted", level(&limiter, "a").await);
        assert_eq!(level(&limiter, "a").await, (sum, 0));
    }
}
