//! Tests of a server that writes to its disk once a second, on a machine that loses power. Killing a server loses
//! nothing that it has written, so the test truncates the file to an earlier length.

use std::{fs, path::PathBuf, time::Duration};

use llm_ratelimit::{Limiter, Reservation, Settlement};
use llm_testkit::redis::RedisServer;

use super::{accounts, ask, build, level, open, settled, until};

const BUDGET: u64 = 300;
/// Number of calls that are granted after the last write to the disk.
const LAST: usize = 50;
const LIMITS: [&str; 1] = ["300 requests/month"];

/// Returns the path of the server's append-only file.
fn log(server: &RedisServer) -> PathBuf {
    let answer = server.command(&["CONFIG", "GET", "dir"]).expect("it answers");
    let directory = answer.lines().nth(1).expect("a name and a value");
    PathBuf::from(directory).join("appendonlydir/appendonly.aof.1.incr.aof")
}

/// Makes calls until `most` are granted, or all limiters refuse. Returns their reservations.
async fn grant(limiters: &[&Limiter], most: usize) -> Vec<Reservation> {
    let mut granted = Vec::new();
    let mut refused = 0;
    while granted.len() < most && refused < limiters.len() {
        match limiters[granted.len() % limiters.len()].reserve(&ask("a")).await {
            Ok(reservation) => (refused, _) = (0, granted.push(reservation)),
            Err(_) => refused += 1,
        }
    }
    granted
}

fn spend(granted: Vec<Reservation>) -> u64 {
    granted.into_iter().map(|reservation| reservation.settle(Settlement::Unknown)).count() as u64
}

/// Truncates the file by the last grants, of which `running` calls still run. Returns the number of calls that were
/// granted twice.
async fn lose_power(running: usize) -> u64 {
    let mut server = RedisServer::builder().line("appendonly yes").line("appendfsync everysec").spawn();
    let leased = || build(accounts(&server.url()).lease(Duration::from_millis(60)), &LIMITS, |builder| builder);
    let (one, other) = (leased().await, leased().await);
    let file = log(&server);
    let mut spent = spend(grant(&[&one, &other], 100).await);
    settled(&one).await;
    settled(&other).await;
    let length = || fs::metadata(&file).expect("the server has made it").len();
    // A server that is writing its file may append to it a little later.
    until(|| async { server.command(&["INFO", "persistence"]).is_ok_and(|it| it.contains("aof_pending_bio_fsync:0")) })
        .await;
    let on_disk = length();
    let mut last = grant(&[&one, &other], LAST).await;
    let held = last.split_off(LAST - running);
    spent += spend(last) + held.len() as u64;
    settled(&one).await;
    settled(&other).await;
    server.kill();
    fs::OpenOptions::new().write(true).open(&file).and_then(|log| log.set_len(on_disk)).expect("the file can be cut");
    server.restart();
    let fresh = open(&server, &LIMITS).await;
    let kept = || async {
        let (used, reserved) = level(&fresh, "a").await;
        used + reserved
    };
    match running {
        0 => assert!(kept().await < spent, "something was lost"),
        // The processes notice the loss of their reservations when they renew them.
        _ => until(|| async { kept().await >= spent }).await,
    }
    let all = [&one, &other, &fresh];
    until(|| async { all.iter().all(|limiter| limiter.stats().redis.pending_settlements == 0) }).await;
    spent += spend(grant(&all, usize::MAX).await);
    drop(held);
    spent - BUDGET
}

#[tokio::test]
async fn everysec_power_loss_passes_lost_second_twice() {
    let twice = lose_power(0).await;
    println!("{LAST} granted since the last write, all had ended: {twice} of {BUDGET} granted twice");
    assert!(twice <= LAST as u64, "{twice}");
}

#[tokio::test]
async fn everysec_loss_is_repaired_by_calls() {
    let twice = lose_power(10).await;
    println!("{LAST} granted since the last write, 10 of them running: {twice} of {BUDGET} granted twice");
    assert!(twice <= 1, "{twice}: what both processes saw is known again");
}
