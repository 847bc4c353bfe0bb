//! Tests of reservations whose leases expire on the server before they end.

use llm_ratelimit::{Limiter, Plans};
use llm_testkit::redis::RedisServer;

use super::{accounts_with, ask, client, settled, used};

/// Time that is longer than a lease, in microseconds.
const MINUTE: i64 = 60_000_000;

#[tokio::test]
async fn lease_expiry_frees_slots_once() {
    let server = RedisServer::spawn();
    let client = client(&server.url());
    let accounts = accounts_with(client.clone()).open().await.expect("it is there");
    let plans = Plans::uniform(["2 concurrent"]).expect("it is right");
    let limiter = Limiter::builder(plans).redis(accounts).build().expect("it is right");
    let late = limiter.reserve(&ask("a")).await.expect("there is room");
    client.set_clock_offset(MINUTE);
    let running = limiter.reserve(&ask("a")).await.expect("there is room");
    late.settle(used(1));
    settled(&limiter).await;
    let next = limiter.reserve(&ask("a")).await.expect("one has ended");
    assert!(limiter.reserve(&ask("a")).await.is_err(), "two are running");
    drop((running, next));
}
