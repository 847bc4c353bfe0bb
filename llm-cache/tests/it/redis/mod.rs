//! The cache over real Redis servers. No virtual time: what is asserted of waiting has generous bounds.

mod child;
mod conformance;
mod faults;
mod invalidation;
mod leases;
mod migration;
mod processes;
mod rights;
mod trips;

use std::{io, time::Duration};

use llm_cache::{Cache, CacheBuilder, Key, llm_redis::Redis};
use llm_testkit::redis::RedisServer;

/// What a busy machine may add to a bound before a test calls it broken.
const ALLOWANCE: Duration = Duration::from_millis(450);

/// A handle with a time-out that a busy machine keeps.
fn handle(server: &RedisServer) -> Redis {
    let mut builder = Redis::builder(server.url()).call_timeout(Duration::from_secs(10));
    if let Some(certificate) = server.certificate() {
        builder = builder.root_certificates(certificate);
    }
    builder.spawn().expect("the settings are right")
}

/// A cache as another process would have it: with a handle and memory of its own.
fn open(server: &RedisServer, set: impl FnOnce(CacheBuilder) -> CacheBuilder) -> Cache {
    set(Cache::builder("tests").redis(handle(server))).build().expect("the settings are right")
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

/// Whether full sizes are wanted.
#[expect(clippy::disallowed_methods, reason = "sizes are set from outside")]
fn is_full() -> bool {
    std::env::var("LLM_FULL").is_ok_and(|full| full == "1")
}
