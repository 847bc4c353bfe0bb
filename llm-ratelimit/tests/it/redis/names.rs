//! Tests of tenants and prefixes with any name, and of amounts of any size.

use llm_core::{Usage, Usd};
use llm_ratelimit::{Limiter, Plans, Settlement};
use llm_testkit::redis::RedisServer;

use super::{accounts_with, ask, build, client, client_builder, level, open, settled, used};

#[tokio::test]
async fn names_of_tenants_never_meet() {
    let server = RedisServer::spawn();
    let (one, other) = (open(&server, &["1000 tokens/month"]).await, open(&server, &["1000 tokens/month"]).await);
    let long = ["x".repeat(512), "x".repeat(511), "é".repeat(256)];
    let odd = [
        "{a}",
        "{a",
        "a}b{c",
        "a:b",
        "a:limits",
        "日本語",
        "\"",
        "\\",
        "a\",\"b",
        "],\"x",
        "*",
        "#",
        "w",
        "r1",
        " ",
        "a\nb",
        "\u{0}",
        "a%b",
    ];
    let names: Vec<&str> = odd.into_iter().chain(long.iter().map(String::as_str)).collect();
    for (name, tokens) in names.iter().zip(1..) {
        one.reserve(&ask(name).tokens(500, 0)).await.expect("there is room").settle(used(tokens));
    }
    settled(&one).await;
    for (name, tokens) in names.iter().zip(1..) {
        assert_eq!(level(&other, name).await, (tokens, 0), "{name:?}");
    }
    let mut counted: Vec<_> = other.balances().await.iter().map(|balance| balance.used()).collect();
    counted.sort_unstable();
    assert_eq!(counted, (1..=names.len() as u64).collect::<Vec<_>>());
    for (n, name) in names.iter().enumerate().step_by(2) {
        other.forget(name).await;
        assert_eq!(level(&one, name).await, (0, 0), "{name:?}");
        if let Some(next) = names.get(n + 1) {
            assert_eq!(level(&one, next).await, (n as u64 + 2, 0), "{next:?} after {name:?}");
        }
    }
}

#[tokio::test]
async fn names_of_prefixes_separate_limiters() {
    let server = RedisServer::spawn();
    for is_chunked in [false, true] {
        let open = async |prefix: &str| {
            let redis = client_builder(&server.url()).prefix(prefix).spawn().expect("the settings are right");
            let accounts = accounts_with(redis).chunked(move |_, _| is_chunked);
            build(accounts, &["10 requests/month"], |builder| builder).await
        };
        let prefix = |name: &str| format!("{name}-{is_chunked}");
        let (shop, bank) = (open(&prefix("shop")).await, open(&prefix("bank")).await);
        for limiter in [&shop, &bank] {
            for _ in 0..10 {
                limiter.reserve(&ask("a")).await.expect("ten each").settle(Settlement::Unknown);
            }
            assert!(limiter.reserve(&ask("a")).await.is_err());
        }
        shop.close().await.unwrap();
        shop.forget("a").await;
        assert_eq!(open(&prefix("bank")).await.balances().await.len(), 1);
    }
}

/// Reserves and settles amounts one after the other. Returns the levels after each step.
async fn levels(limiter: &Limiter, steps: &[(u64, u64)]) -> Vec<(bool, u64, u64, u64)> {
    let mut levels = Vec::new();
    for (reserved, spent) in steps {
        let cost = |nanos: u64| Usd::from_nanos(i64::try_from(nanos).expect("it is money"));
        let demand = ask("a").tokens(*reserved, 0).cost(cost(*reserved));
        let outcome = limiter.reserve(&demand).await;
        let passed = outcome.is_ok();
        let settlement = Settlement::Used { usage: Usage::new(*spent, 0), cost: Some(cost(*spent)) };
        drop(outcome.map(|reservation| reservation.settle(settlement)));
        settled(limiter).await;
        for status in limiter.usage("a").await.iter() {
            levels.push((passed, status.used, status.reserved, status.debt));
        }
    }
    levels
}

#[tokio::test]
async fn names_near_greatest_size_count_exactly() {
    const MOST: u64 = (1 << 53) - 1;
    let server = RedisServer::spawn();
    let steps = [(MOST - 10, MOST - 10), (11, 11), (7, 6), (5, 5), (4, 4), (1, 1), (0, 0)];
    let tokens = format!("{MOST} tokens/month");
    for limits in [[&*tokens, "$9007199.254740991/day"], ["100 concurrent", "$9007199.254740991/month"]] {
        let redis = build(accounts_with(client(&server.url())), &limits, |builder| builder).await;
        let plans = Plans::uniform(limits).expect("they are right");
        let memory = Limiter::builder(plans).prices(llm_core::price::PriceTable::default()).build().expect("right");
        let (ours, theirs) = (levels(&redis, &steps).await, levels(&memory, &steps).await);
        println!("{limits:?}\n{ours:?}\n{theirs:?}");
        assert_eq!(ours, theirs);
    }
}
