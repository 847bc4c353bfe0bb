//! Tests of addresses that decide where accounts are kept, and of moving balances from one to another.

use llm_ratelimit::{Limiter, OpenError, OpenLimiter, Plans, Reason, StoreError};
use llm_testkit::redis::RedisServer;
use tempfile::tempdir;

use super::{ask, level, settled, used};

async fn open(address: &str) -> OpenLimiter {
    let plans = Plans::uniform(["1000 tokens/month", "100/minute"]).expect("the limits are right");
    Limiter::builder(plans).open(address).await.expect("the address is right")
}

/// Spends tokens of a tenant.
async fn spend(opened: &OpenLimiter, tenant: &str, tokens: u64) {
    opened.limiter().reserve(&ask(tenant).tokens(tokens, 0)).await.expect("there is room").settle(used(tokens));
    settled(opened.limiter()).await;
}

#[tokio::test]
async fn address_decides_where_accounts_are() {
    let (server, files) = (RedisServer::spawn(), tempdir().expect("there is a disk"));
    let file = format!("file://{}/balances", files.path().display());
    let redis = format!("{}?instances=2&prefix=shop&lease=5s&decision_timeout=20s", server.url());
    // Each case has the tokens that another limiter at the same address finds.
    for (address, kept) in [("memory:", 0), (&*file, 70), (&*redis, 70)] {
        let opened = open(address).await;
        spend(&opened, "a", 70).await;
        assert_eq!(opened.persister().is_some(), address == file);
        assert_eq!(opened.close().await, Ok(0));
        let again = open(address).await;
        assert_eq!(level(again.limiter(), "a").await, (kept, 0), "{address}");
        again.close().await.unwrap();
    }
    assert!(server.command(&["KEYS", "*"]).unwrap().contains("shop:"));
}

#[tokio::test]
async fn address_of_server_without_answer_is_refused() {
    let plans = || Limiter::builder(Plans::uniform(["1/day"]).unwrap());
    let OpenError::Redis(error) = plans().open("redis://:hunter2@127.0.0.1:1?instances=2").await.unwrap_err() else {
        panic!("it is the server's");
    };
    assert!(!error.to_string().contains("hunter2"), "{error}");
    let error = plans().open("redis://127.0.0.1").await.unwrap_err();
    assert!(error.to_string().contains("?instances="), "{error}");
    let url = "redis://127.0.0.1?instances=2";
    assert_eq!(llm_ratelimit::Store::open(url).unwrap_err(), StoreError::Server);
}

#[tokio::test]
async fn migrate_moves_balances_between_addresses() {
    let (server, files) = (RedisServer::spawn(), tempdir().expect("there is a disk"));
    let file = format!("file://{}/balances", files.path().display());
    let redis = format!("{}?instances=2&decision_timeout=20s", server.url());
    let (from, to) = (open(&file).await, open(&redis).await);
    for n in 0..100 {
        spend(&from, &format!("t{n}"), 10 + n).await;
    }
    spend(&to, "t0", 5).await;
    spend(&to, "t1", 900).await;
    assert_eq!(from.limiter().migrate(to.limiter()).await, Ok(99), "t1 has used more there");
    assert_eq!(from.limiter().migrate(to.limiter()).await, Ok(0), "once more changes nothing");
    for (tenant, tokens) in [("t0", 10), ("t1", 900), ("t99", 109)] {
        assert_eq!(level(to.limiter(), tenant).await, (tokens, 0), "{tenant}");
    }
    let back = open("memory:").await;
    assert_eq!(to.limiter().migrate(back.limiter()).await, Ok(100));
    assert_eq!(level(back.limiter(), "t99").await, (109, 0));
    from.close().await.unwrap();
}

#[tokio::test]
async fn reconcile_replaces_spent_and_keeps_reserved() {
    let server = RedisServer::spawn();
    for address in ["memory:".to_owned(), format!("{}?instances=2&decision_timeout=20s", server.url())] {
        let opened = open(&address).await;
        let limiter = opened.limiter();
        spend(&opened, "a", 500).await;
        let running = limiter.reserve(&ask("a").tokens(300, 0)).await.unwrap();
        let totals = |spent| async move {
            limiter.balances().await.into_iter().map(|balance| balance.with_spent(spent)).collect::<Vec<_>>()
        };
        // The operator knows that 14 were spent.
        assert_eq!(limiter.reconcile(totals(14).await).await, Ok(1), "{address}");
        assert_eq!(level(limiter, "a").await, (14, 300));
        running.settle(used(300));
        settled(limiter).await;
        assert_eq!(level(limiter, "a").await, (314, 0));
        limiter.reconcile(totals(1_700).await).await.unwrap();
        let status = limiter.usage("a").await.iter().next().unwrap();
        assert_eq!((status.used, status.debt), (1_700, 700), "what exceeds the limit is debt");
        assert_eq!(limiter.reserve(&ask("a").tokens(1, 0)).await.unwrap_err().reason(), Reason::UsedUp);
    }
}
