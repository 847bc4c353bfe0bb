//! Tests of a server that is down, stalls or comes back.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use llm_ratelimit::{
    Event, Limit, Limiter, OutagePolicy, Plans, Reason, RedisAccounts, RedisAccountsBuilder, Settlement,
    llm_redis::Redis,
};
use llm_testkit::redis::RedisServer;

use super::{ask, build, level, open, settled, until, used};

/// Spawns a server that keeps everything it has acknowledged.
fn durable() -> RedisServer {
    RedisServer::builder().line("appendonly yes").line("appendfsync always").spawn()
}

/// Opens a limiter with short timeouts, which notices an outage soon.
async fn open_impatient(
    server: &RedisServer,
    limits: &[&str],
    policy: Option<OutagePolicy>,
    max_settlements: usize,
) -> Limiter {
    build(impatient(server, policy, max_settlements), limits, |builder| builder).await
}

fn impatient(server: &RedisServer, policy: Option<OutagePolicy>, max_settlements: usize) -> RedisAccountsBuilder {
    let client = Redis::builder(server.url()).call_timeout(Duration::from_secs(5));
    let client = client
        .probe_backoff(Duration::from_millis(5), Duration::from_millis(20))
        .spawn()
        .expect("the settings are right");
    let accounts =
        RedisAccounts::builder(client, NonZeroU32::new(2).expect("it is not zero")).max_settlements(max_settlements);
    let accounts = accounts.decision_timeout(Duration::from_secs(5));
    match policy {
        Some(policy) => accounts.on_outage(move |_| policy),
        None => accounts,
    }
}

async fn granted(limiter: &Limiter, calls: usize) -> usize {
    let mut granted = 0;
    for _ in 0..calls {
        if let Ok(reservation) = limiter.reserve(&ask("a").tokens(1, 0)).await {
            reservation.settle(used(1));
            granted += 1;
        }
    }
    granted
}

#[tokio::test]
async fn outage_budget_refuses_by_default() {
    let mut server = RedisServer::spawn();
    let limiter = open_impatient(&server, &["100 tokens/month", "100/minute"], None, 100).await;
    server.kill();
    let refusal = limiter.reserve(&ask("a").tokens(1, 0)).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::Unavailable);
    assert!(refusal.to_string().contains("cannot be reached"), "{refusal}");
    assert_eq!(granted(&limiter, 50).await, 0);
    assert_eq!(limiter.stats().redis.refused_in_outage, 51);
    server.restart();
    until(|| async { granted(&limiter, 1).await == 1 }).await;
}

#[tokio::test]
async fn outage_local_share_is_charged_later() {
    let mut server = durable();
    let limiter = open_impatient(&server, &["10 requests/day burst 10"], None, 100).await;
    assert_eq!(granted(&limiter, 3).await, 3);
    settled(&limiter).await;
    server.kill();
    assert_eq!(granted(&limiter, 50).await, 5, "half of ten, for one of two processes");
    assert_eq!(limiter.stats().redis.shared_in_outage, 50);
    server.restart();
    settled(&limiter).await;
    assert_eq!(level(&limiter, "a").await.0, 8, "what passed in the outage is counted");
    assert_eq!(granted(&limiter, 10).await, 2);
}

#[tokio::test]
async fn outage_allowed_calls_become_debt() {
    let mut server = durable();
    let limiter = open_impatient(&server, &["10 tokens/month"], Some(OutagePolicy::Allow), 100).await;
    assert_eq!(granted(&limiter, 4).await, 4);
    settled(&limiter).await;
    server.kill();
    assert_eq!(granted(&limiter, 30).await, 30);
    server.restart();
    settled(&limiter).await;
    let status = limiter.usage("a").await.iter().next().unwrap();
    assert_eq!((status.used, status.debt), (34, 24), "beyond the limit it is debt");
    assert_eq!(limiter.stats().redis.allowed_in_outage, 30);
}

#[tokio::test]
async fn outage_alerts_fire_once_when_charged() {
    for (policy, calls, shares) in [(OutagePolicy::LocalShare, 5, &[50][..]), (OutagePolicy::Allow, 12, &[50, 80, 100])]
    {
        let (mut server, events) = (durable(), Arc::<Mutex<Vec<u8>>>::default());
        let accounts = impatient(&server, Some(policy), 100);
        let sink = {
            let events = Arc::clone(&events);
            move |event: &Event| events.lock().unwrap().push(event.percent)
        };
        let limiter = build(accounts, &["10 tokens/month"], |builder| builder.sink(sink)).await;
        server.kill();
        assert_eq!(granted(&limiter, calls).await, calls);
        assert!(events.lock().unwrap().is_empty(), "{policy:?}: a share of the limit is not the limit");
        server.restart();
        settled(&limiter).await;
        assert_eq!(*events.lock().unwrap(), shares, "{policy:?}");
    }
}

#[tokio::test]
async fn outage_call_counts_in_chunks_that_it_takes() {
    let mut server = durable();
    let limits = Plans::uniform(["100 requests/month"]).expect("it is a limit");
    let plans = limits.limit("1000 tokens/month".parse::<Limit>().expect("it is a limit")).expect("it is new");
    let open = async |server: &RedisServer| {
        let accounts = impatient(server, Some(OutagePolicy::Allow), 100).lease(Duration::from_secs(3_600));
        let accounts = accounts.open().await.expect("the server is there");
        Limiter::builder(plans.clone()).redis(accounts).build().expect("the plans are right")
    };
    let limiter = open(&server).await;
    // The chunk of the limit that all tenants share grows with these calls.
    assert_eq!(granted(&limiter, 20).await, 20);
    settled(&limiter).await;
    server.kill();
    assert_eq!(granted(&limiter, 4).await, 4);
    server.restart();
    assert_eq!(limiter.close().await, Ok(0));
    let used: Vec<_> = open(&server).await.usage("a").await.iter().map(|status| status.used).collect();
    assert_eq!(used, [24, 24]);
}

#[tokio::test]
async fn outage_settlements_arrive_afterwards() {
    let mut server = durable();
    let limiter = open_impatient(&server, &["1000 tokens/month"], None, 1_000).await;
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(limiter.reserve(&ask("a").tokens(10, 0)).await.unwrap());
    }
    server.kill();
    let dropped = open.split_off(50);
    open.into_iter().for_each(|reservation| reservation.settle(used(3)));
    drop(dropped);
    server.restart();
    settled(&limiter).await;
    assert_eq!(level(&limiter, "a").await, (150, 0));
    assert_eq!(limiter.stats().redis.dropped_settlements, 0);
}

#[tokio::test]
async fn outage_full_outbox_counts_as_spent() {
    let mut server = durable();
    let limiter = open_impatient(&server, &["1000 tokens/month"], None, 8).await;
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(limiter.reserve(&ask("a").tokens(10, 0)).await.unwrap());
    }
    server.kill();
    // No waiting call is removed from the queue meanwhile.
    open.into_iter().for_each(|reservation| reservation.settle(Settlement::Unsent));
    assert_eq!(limiter.stats().redis.dropped_settlements, 92);
    server.restart();
    settled(&limiter).await;
    let (used, reserved) = level(&limiter, "a").await;
    assert_eq!(used + reserved, 920);
}

#[tokio::test]
async fn outage_full_connection_is_none() {
    let server = RedisServer::spawn();
    let client = Redis::builder(server.url())
        .max_in_flight(1)
        .call_timeout(Duration::from_secs(20))
        .spawn()
        .expect("the settings are right");
    let accounts = RedisAccounts::builder(client, NonZeroU32::MIN).decision_timeout(Duration::from_secs(20));
    let limiter = build(accounts, &["1000 tokens/month"], |builder| builder).await;
    let demand = ask("a").tokens(1, 0);
    let calls = (0..200).map(|_| limiter.reserve(&demand));
    let refused = futures_util::future::join_all(calls).await.into_iter().filter(Result::is_err).count();
    assert_eq!((refused, limiter.stats().redis.refused_in_outage), (0, 0), "they wait for each other");
}

#[tokio::test]
async fn outage_stalled_server_refuses_in_time() {
    let server = RedisServer::spawn();
    let client =
        Redis::builder(server.url()).probe_timeout(Duration::from_millis(50)).spawn().expect("the settings are right");
    let accounts = RedisAccounts::builder(client, NonZeroU32::MIN).decision_timeout(Duration::from_millis(50));
    let limiter = build(accounts, &["1000 tokens/month"], |builder| builder).await;
    let other = open(&server, &["1000 tokens/month"]).await;
    server.pause();
    assert_eq!(limiter.reserve(&ask("a").tokens(7, 0)).await.unwrap_err().reason(), Reason::Unavailable);
    server.resume();
    settled(&limiter).await;
    // The server may still run commands that it received while it was paused, and then runs the cancellation as well.
    assert_eq!(level(&other, "a").await, (0, 0));
}
