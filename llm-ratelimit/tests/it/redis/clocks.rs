//! Tests of processes whose clocks differ from the server's, and of a server whose clock jumps.

use llm_ratelimit::{Limiter, RedisAccounts, llm_redis::Redis};
use llm_testkit::redis::RedisServer;

use super::{accounts_with, ask, build, client, used};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Opens two limiters, which decide from chunks if `is_chunked` is true.
async fn open(clients: &[Redis; 2], is_chunked: bool) -> [Limiter; 2] {
    let open = |client: &Redis| {
        let accounts = accounts_with(client.clone()).chunked(move |_, _| is_chunked);
        build(accounts, &["100 tokens/day", "90/minute"], |builder| builder)
    };
    [open(&clients[0]).await, open(&clients[1]).await]
}

/// Makes forty calls of ten tokens, alternating between the limiters. Returns the number of granted calls.
async fn granted(limiters: &[Limiter; 2], tenant: &str) -> usize {
    let mut granted = 0;
    for n in 0..40 {
        if let Ok(reservation) = limiters[n % 2].reserve(&ask(tenant).tokens(10, 0)).await {
            reservation.settle(used(10));
            granted += 1;
        }
    }
    granted
}

#[tokio::test]
async fn clocks_of_processes_may_differ_from_servers() {
    let server = RedisServer::spawn();
    for is_chunked in [false, true] {
        for seconds in [-86_400 * 40, -3_600, -10, 10, 3_600, 86_400 * 40] {
            let clients = [client(&server.url()), client(&server.url())];
            clients.iter().for_each(|client| client.set_clock_offset(seconds * SECOND));
            let limiters = open(&clients, is_chunked).await;
            let tenant = format!("{is_chunked} {seconds}");
            let granted = granted(&limiters, &tenant).await;
            let all = if is_chunked { 5..=10 } else { 10..=10 };
            assert!(all.contains(&granted), "{tenant}: {granted} of 10");
            let status = limiters[1].usage(&tenant).await.iter().next().expect("it has a limit");
            assert!(!status.reset.is_zero() && status.reset.as_secs() <= 86_400, "{tenant}: {:?}", status.reset);
        }
    }
}

#[tokio::test]
async fn clocks_that_leap_open_no_window_twice() {
    let server = RedisServer::spawn();
    for is_chunked in [false, true] {
        let clients = [client(&server.url()), client(&server.url())];
        let limiters = open(&clients, is_chunked).await;
        let (tenant, mut days) = (format!("leaps {is_chunked}"), 0);
        for (leap, most) in [(0, 10), (1, 10), (0, 0), (1, 0), (3, 10)] {
            days += 1;
            clients.iter().for_each(|client| client.set_clock_offset(leap * DAY));
            let granted = granted(&limiters, &tenant).await;
            assert!(granted <= most, "{tenant}: {granted} after leap {days} to day {leap}");
            assert!(is_chunked || granted == most, "{tenant}: {granted} after leap {days} to day {leap}");
        }
    }
}

#[tokio::test]
async fn clocks_that_go_back_lose_no_lease() {
    let server = RedisServer::spawn();
    let client = client(&server.url());
    let accounts: RedisAccounts = accounts_with(client.clone()).open().await.expect("it is there");
    let plans = llm_ratelimit::Plans::uniform(["1 concurrent"]).expect("it is right");
    let limiter = Limiter::builder(plans).redis(accounts).build().expect("it is right");
    let held = limiter.reserve(&ask("a")).await.expect("there is room");
    client.set_clock_offset(-3_600 * SECOND);
    assert!(limiter.reserve(&ask("a")).await.is_err());
    held.settle(used(1));
    super::settled(&limiter).await;
    assert!(limiter.reserve(&ask("a")).await.is_ok());
}
