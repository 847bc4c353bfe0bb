//! Tests of limiters that share their accounts on real Redis servers. Each limiter stands for one process. Time is
//! real: tests wait for signals, with bounds that are long enough even on a busy machine.

#[cfg(feature = "file")]
mod address;
mod child;
mod chunks;
mod clocks;
mod closing;
#[cfg(feature = "redis-cluster")]
mod cluster;
mod cost;
mod deploys;
mod durability;
mod lease_expiry;
mod limits;
mod loss;
#[cfg(feature = "metrics")]
mod lost_replies;
mod names;
mod outage;
mod phantom;
mod plans;
mod processes;
mod server_errors;
mod versions;
mod waiting;

use std::{future::Future, num::NonZeroU32, time::Duration};

use llm_core::Usage;
use llm_ratelimit::{
    Demand, Limiter, LimiterBuilder, Plans, RedisAccounts, RedisAccountsBuilder, Settlement,
    llm_redis::{Redis, RedisBuilder},
};
use llm_testkit::redis::RedisServer;

/// Timeout that is long enough even on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(20);

fn client(url: &str) -> Redis {
    client_builder(url).spawn().expect("the settings are right")
}

fn client_builder(url: &str) -> RedisBuilder {
    Redis::builder(url).call_timeout(TIMEOUT).probe_timeout(TIMEOUT).connect_timeout(TIMEOUT)
}

/// Returns the settings of accounts that two processes share.
fn accounts(url: &str) -> RedisAccountsBuilder {
    accounts_with(client(url))
}

fn accounts_with(client: Redis) -> RedisAccountsBuilder {
    RedisAccounts::builder(client, NonZeroU32::new(2).expect("two is not zero")).decision_timeout(TIMEOUT)
}

/// Opens a limiter that stands for another process.
async fn open(server: &RedisServer, limits: &[&str]) -> Limiter {
    open_with(server, limits, |builder| builder).await
}

async fn open_with(
    server: &RedisServer,
    limits: &[&str],
    set: impl FnOnce(LimiterBuilder) -> LimiterBuilder,
) -> Limiter {
    build(accounts(&server.url()), limits, set).await
}

async fn build(
    accounts: RedisAccountsBuilder,
    limits: &[&str],
    set: impl FnOnce(LimiterBuilder) -> LimiterBuilder,
) -> Limiter {
    let accounts = accounts.open().await.expect("the server is there");
    let builder = Limiter::builder(Plans::uniform(limits.iter().copied()).expect("the limits are right"));
    set(builder.prices(llm_core::price::PriceTable::default()).redis(accounts)).build().expect("the plans are right")
}

fn ask(tenant: &str) -> Demand {
    Demand::new(tenant, "m")
}

fn used(tokens: u64) -> Settlement {
    Settlement::Used { usage: Usage::new(tokens, 0), cost: None }
}

/// Returns the used and the reserved amount of a tenant's first limit.
async fn level(limiter: &Limiter, tenant: &str) -> (u64, u64) {
    let status = limiter.usage(tenant).await.iter().next().expect("it has a limit");
    (status.used, status.reserved)
}

/// Waits until all settlements have been acknowledged.
async fn settled(limiter: &Limiter) {
    until(|| async { limiter.stats().redis.pending_settlements == 0 }).await;
}

/// Waits until a condition is true that other tasks or the server bring about.
async fn until<F: Future<Output = bool>>(is_so: impl Fn() -> F) {
    let poll = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(3 * TIMEOUT, poll).await.expect("it comes about");
}
