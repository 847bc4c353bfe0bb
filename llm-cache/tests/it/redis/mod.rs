//! Tests of the cache with real Redis servers. Time is real, so assertions about waiting have generous bounds.

mod child;
mod claim_timeout;
mod close;
mod conformance;
mod invalidation;
mod leases;
mod metrics;
mod migration;
mod outage;
mod processes;
mod proxy;
mod rights;
mod trips;

use std::{io, time::Duration};

use llm_cache::{Cache, CacheBuilder, Key, RedisOptions, llm_redis::Redis};
use llm_testkit::redis::RedisServer;

/// Time that a busy machine may add to a bound.
const ALLOWANCE: Duration = Duration::from_secs(3);

/// Timeout that is long enough even on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Returns a handle with timeouts that are long enough even on a busy machine.
fn handle(server: &RedisServer) -> Redis {
    let mut builder = Redis::builder(server.url()).call_timeout(TIMEOUT).probe_timeout(TIMEOUT);
    if let Some(certificate) = server.certificate() {
        builder = builder.root_certificates(certificate);
    }
    builder.spawn().expect("the settings are right")
}

/// Returns options with a handle of their own, as another process would have them.
fn options(server: &RedisServer) -> RedisOptions {
    RedisOptions::from(handle(server)).claim_timeout(TIMEOUT)
}

/// Opens a cache with a handle and a memory of its own, as another process would have them.
fn open(server: &RedisServer, set: impl FnOnce(CacheBuilder) -> CacheBuilder) -> Cache {
    set(Cache::builder("tests").redis(options(server))).build().expect("the settings are right")
}

fn key(n: u32) -> Key {
    Key::of("ns", "acme", "op", &n).expect("a number serializes")
}

async fn not_asked() -> Result<u32, io::Error> {
    Err(io::Error::other("not asked"))
}

async fn put(cache: &Cache, n: u32) {
    cache.get_or_call(&key(n), move || async move { Ok::<_, io::Error>(n) }).await.expect("it is answered");
}

/// Waits until a condition is true that other tasks or the server bring about.
async fn until(is_so: impl Fn() -> bool) {
    let poll = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(3 * TIMEOUT, poll).await.expect("it comes about");
}

/// Returns the names of the leases on the server, one in each line.
fn leases(server: &RedisServer) -> String {
    server.command(&["KEYS", "*:lease:*"]).expect("it answers")
}

/// Returns true if the full sizes are requested.
#[expect(clippy::disallowed_methods, reason = "sizes are set from outside")]
fn is_full() -> bool {
    std::env::var("LLM_FULL").is_ok_and(|full| full == "1")
}
