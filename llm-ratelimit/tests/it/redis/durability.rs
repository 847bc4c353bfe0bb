//! A server that is killed while it writes to its disk once a second.

use std::cell::Cell;

use llm_ratelimit::Settlement;
use llm_testkit::redis::RedisServer;

use super::{ask, level, open, settled, until};

const BUDGET: u64 = 300;

#[tokio::test]
async fn everysec_server_passes_at_most_lost_second_twice() {
    let mut server = RedisServer::builder().line("appendonly yes").line("appendfsync everysec").spawn();
    let limiter = open(&server, &["300 requests/month"]).await;
    let granted = Cell::new(0);
    let call = || async {
        let outcome = limiter.reserve(&ask("a")).await.map(|reservation| reservation.settle(Settlement::Unknown));
        granted.set(granted.get() + u64::from(outcome.is_ok()));
        outcome.is_ok()
    };
    while granted.get() < BUDGET / 2 {
        assert!(call().await);
    }
    let before = granted.get();
    server.kill();
    server.restart();
    until(call).await;
    settled(&limiter).await;
    let kept = level(&limiter, "a").await.0;
    while call().await {}
    let twice = granted.get() - BUDGET;
    println!("{before} granted before the kill, {kept} kept, {twice} granted twice");
    assert!(twice <= before + 1 - kept.min(before), "no more than what the server lost");
}
