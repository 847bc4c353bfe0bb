//! Limiters of one process that keep their accounts in Redis. One decides by a script for each call, and one from
//! chunks. An empty script and the same limits in memory serve as comparisons.

use std::{num::NonZeroU32, time::Duration};

use futures_util::future::join_all;
use llm_core::Usage;
use llm_ratelimit::{
    Demand, Limiter, Plans, RedisAccounts, Settlement,
    llm_redis::{HashTag, Redis, Script},
};
use llm_testkit::redis::RedisServer;
use tokio::runtime::{Builder, Runtime};

/// Redis server, and limiters that keep their accounts there.
#[derive(Debug)]
pub struct Fleet {
    runtime: Runtime,
    redis: Redis,
    empty: Script,
    tag: HashTag,
    one: Limiter,
    three: Limiter,
    chunks: Limiter,
    memory: Limiter,
    demand: Demand,
    _server: RedisServer,
}

/// Limiter to measure in a [`Fleet`].
#[derive(Clone, Copy, Debug)]
pub enum Accounts {
    /// One quota for each tenant, in Redis.
    OneQuota,
    /// Three quotas for each tenant, in Redis.
    ThreeQuotas,
    /// One quota for each tenant, in Redis, decided from chunks.
    Chunks,
    /// One quota for each tenant, in memory.
    Memory,
}

/// Limits that are too high for a benchmark to reach.
const LIMITS: [&str; 3] =
    ["4000000000000000 tokens/month", "4000000000000 requests/day", "4000000000000 tokens/second"];

impl Fleet {
    /// Spawns a server and opens the limiters.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server`.
    pub fn new() -> Self {
        let server = RedisServer::spawn();
        // The limiters' background tasks run on this thread, beside the caller.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("it can be made");
        let _entered = runtime.enter();
        let redis = Redis::builder(server.url()).call_timeout(Duration::from_secs(20)).spawn().expect("right");
        let open = |limits: usize, is_chunked: bool| {
            // The lease outlasts the benchmark, so that no background round renews the reservations that the benchmark
            // forgets.
            let accounts = RedisAccounts::builder(redis.clone(), NonZeroU32::MIN).lease(Duration::from_secs(3_600));
            let accounts = accounts.decision_timeout(Duration::from_secs(20)).chunked(move |_, _| is_chunked);
            let accounts = runtime.block_on(accounts.open()).expect("the server is there");
            Limiter::builder(plans(limits)).redis(accounts).build().expect("the limits are right")
        };
        let (one, three, chunks) = (open(1, false), open(3, false), open(1, true));
        let memory = Limiter::builder(plans(1)).build().expect("the limits are right");
        let (empty, tag) = (Script::new("return 0"), redis.key_space().tag("empty"));
        let demand = Demand::new("acme", "gpt-4o-mini").tokens(1_000, 500);
        drop(_entered);
        Self { runtime, redis, empty, tag, one, three, chunks, memory, demand, _server: server }
    }

    fn limiter(&self, accounts: Accounts) -> &Limiter {
        match accounts {
            Accounts::OneQuota => &self.one,
            Accounts::ThreeQuotas => &self.three,
            Accounts::Chunks => &self.chunks,
            Accounts::Memory => &self.memory,
        }
    }

    /// Makes `calls` decisions at once, and never settles their reservations.
    pub fn decide(&self, accounts: Accounts, calls: usize) {
        let limiter = self.limiter(accounts);
        let decide = async || std::mem::forget(limiter.reserve(&self.demand).await.expect("there is room"));
        self.runtime.block_on(join_all((0..calls).map(|_| decide())));
    }

    /// Reserves and settles `calls` calls, one after the other.
    pub fn pass(&self, accounts: Accounts, calls: usize) {
        let limiter = self.limiter(accounts);
        self.runtime.block_on(async {
            for _ in 0..calls {
                let reservation = limiter.reserve(&self.demand).await.expect("there is room");
                reservation.settle(Settlement::Used { usage: Usage::new(900, 100), cost: None });
            }
        });
    }

    /// Runs `calls` empty scripts at once.
    pub fn empty_scripts(&self, calls: usize) {
        let key = self.tag.key("empty");
        let run = async || drop(self.redis.run(self.empty.with_keys(&[&key])).await.expect("it runs"));
        self.runtime.block_on(join_all((0..calls).map(|_| run())));
    }
}

impl Default for Fleet {
    fn default() -> Self {
        Self::new()
    }
}

fn plans(limits: usize) -> Plans {
    Plans::uniform(LIMITS[..limits].iter().copied()).expect("the limits are right")
}
