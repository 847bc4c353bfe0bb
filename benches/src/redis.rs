//! Cache hit in Redis through the whole cache layer, and the same bytes by one `GET` on the same connection, for
//! comparison.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use llm_cache::{
    Cache, Cached, RedisOptions,
    llm_redis::{Command, Key, Redis, Value},
};
use llm_core::{Call, ChatRequest, ChatResponse, Origin};
use llm_testkit::redis::RedisServer;
use tokio::runtime::{Builder, Runtime};
use tower::Service;

use crate::{
    hit::{Warm, of_2_kb},
    vendor::AtOnce,
};

/// Redis server, a cache whose entries are all in Redis, and a request whose response it holds.
#[derive(Debug)]
pub struct Remote {
    runtime: Runtime,
    redis: Redis,
    cache: Cache,
    service: Cached<AtOnce>,
    /// Request that the cache can serve.
    pub call: Call<ChatRequest>,
    /// Cached response to the request.
    pub response: ChatResponse,
    entry: Key,
    next: AtomicU64,
    _server: RedisServer,
}

impl Remote {
    /// Spawns a server, and stores one response of 2 KB in it.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server`.
    pub fn new() -> Self {
        let server = RedisServer::spawn();
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let Warm { call, response, .. } = Warm::new();
        let (redis, cache, service, entry) = runtime.block_on(async {
            let redis = Redis::builder(server.url()).call_timeout(Duration::from_secs(10)).spawn();
            let redis = redis.expect("the URL is right");
            let hour = Duration::from_secs(3600);
            let options = RedisOptions::from(redis.clone()).invalidation_bound(hour);
            let cache = Cache::builder("bench").redis(options).max_bytes(1 << 10).build();
            let cache = cache.expect("the settings are right");
            let mut service = Cached::new(AtOnce::saying(&of_2_kb("given a user when ")), cache.clone());
            service.call(call.clone()).await.expect("it is served");
            cache.close().await.expect("it is written");
            let found = redis.scan("entry", None, 1_000).await.expect("the server is there");
            (redis, cache, service, found.keys.into_iter().next().expect("there is one entry"))
        });
        Self { runtime, redis, cache, service, call, response, entry, next: AtomicU64::new(0), _server: server }
    }

    /// Sends `calls` calls at once, each of which is a hit in Redis.
    pub fn hits(&self, calls: usize) {
        let send = async || {
            let reply = self.service.clone().call(self.call.clone()).await.expect("it is stored");
            assert!(matches!(reply.receipt.origin(), Origin::Cache { tier: "redis", .. }));
        };
        self.runtime.block_on(join_all((0..calls).map(|_| send())));
    }

    /// Sends `calls` bare `GET` commands for the same value at once.
    pub fn gets(&self, calls: usize) {
        let get = async || drop(self.redis.run(Command::get(&self.entry)).await.expect("it is there"));
        self.runtime.block_on(join_all((0..calls).map(|_| get())));
    }

    /// Returns the value as it is stored in Redis.
    pub fn value(&self) -> Bytes {
        let value = self.runtime.block_on(self.redis.run(Command::get(&self.entry)));
        value.and_then(Value::into_bytes).expect("it is there").expect("it is there")
    }

    /// Makes `calls` misses at once. Each takes a lease, fails, and releases the lease.
    pub fn leases(&self, calls: usize) {
        let lease = async || {
            let key = self.new_key();
            let failed = self.cache.get_or_call(&key, || async { Err::<u64, _>(io::Error::other("on purpose")) }).await;
            assert!(failed.is_err());
        };
        self.runtime.block_on(join_all((0..calls).map(|_| lease())));
    }

    /// Makes `calls` misses at once. Each takes a lease, and stores its response.
    pub fn stores(&self, calls: usize) {
        let store = async || {
            let (key, response) = (self.new_key(), self.response.clone());
            let stored = self.cache.get_or_call(&key, || async { Ok::<_, io::Error>(response) }).await;
            assert!(stored.is_ok());
        };
        self.runtime.block_on(async {
            join_all((0..calls).map(|_| store())).await;
            self.cache.close().await.expect("it is written");
        });
    }

    fn new_key(&self) -> llm_cache::Key {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        self.cache.key("acme", "bench", &n).expect("a number serializes")
    }
}

impl Default for Remote {
    fn default() -> Self {
        Self::new()
    }
}
