//! Tests of faults of Redis under load: no call fails, and no call waits longer than the bound.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use llm_cache::{Cache, Key};
use llm_core::Origin;
use llm_testkit::redis::RedisServer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::{Instant, sleep, timeout},
};

use super::{ALLOWANCE, is_full, proxy::Proxy};

/// Longest time that a call may wait for Redis by default: for a lookup and for the claim of a lease.
const BOUND: Duration = Duration::from_millis(1_050);

/// Callers that send requests all the time: some repeatedly, and others once.
struct Load {
    cache: Cache,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    callers: Vec<tokio::task::JoinHandle<Duration>>,
}

impl Load {
    fn on(url: &str) -> Self {
        let cache = Cache::builder("tests").open(url).expect("the settings are right");
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let caller = |caller| tokio::spawn(ask(cache.clone(), caller, Arc::clone(&stop), Arc::clone(&done)));
        let callers = (0..8).map(caller).collect();
        Self { cache, stop, callers, done }
    }

    /// Waits until this many more calls have been made.
    async fn calls(&self, more: u64) {
        let more = if is_full() { more * 10 } else { more };
        let until = self.done.load(Ordering::SeqCst) + more;
        while self.done.load(Ordering::SeqCst) < until {
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Ends the load, and prints and checks the longest wait of any caller.
    async fn end(self, fault: &str) -> Cache {
        self.stop.store(true, Ordering::SeqCst);
        let mut longest = Duration::ZERO;
        for caller in self.callers {
            longest = longest.max(caller.await.expect("no call fails"));
        }
        let stats = self.cache.stats();
        println!(
            "{fault}: {} calls, 0 failed, longest wait {longest:?}, {} failures of Redis, {} unwritten",
            self.done.load(Ordering::SeqCst),
            stats.store_errors,
            stats.dropped_writes
        );
        assert!(longest < BOUND + ALLOWANCE, "{fault}: somebody waited {longest:?}");
        self.cache
    }
}

/// Sends requests until it is stopped. Returns the longest wait. The vendor answers at once.
async fn ask(cache: Cache, caller: u32, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> Duration {
    let mut longest = Duration::ZERO;
    for n in 0_u32.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let n = if n % 2 == 0 { n % 20 } else { 1_000 + caller * 1_000_000 + n };
        let key = Key::of("ns", "acme", "op", &n).expect("a number serializes");
        let start = Instant::now();
        let got = cache.get_or_call(&key, move || async move { Ok::<_, io::Error>(n) }).await;
        longest = longest.max(start.elapsed());
        assert_eq!(*got.expect("no call fails").value, n, "it is its own answer");
        done.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(1)).await;
    }
    longest
}

/// Waits until responses can be stored in Redis and read again.
async fn recovers(cache: &Cache, url: &str) {
    let shared = async {
        for n in 0_u32.. {
            let key = Key::of("ns", "acme", "recovery", &n).expect("a number serializes");
            cache.get_or_call(&key, move || async move { Ok::<_, io::Error>(n) }).await.expect("no call fails");
            // Leases from the time of the fault may remain until they expire.
            let _ = cache.close().await;
            let other = Cache::builder("tests")
                .open(&format!("{url}?redis_timeout=5s&claim_timeout=5s"))
                .expect("the settings are right");
            let got = other.get_or_call(&key, move || async move { Ok::<_, io::Error>(n) }).await;
            if matches!(got.expect("no call fails").origin, Origin::Cache { tier: "redis", .. }) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), shared).await.expect("it recovers by itself");
}

#[tokio::test]
async fn redis_down_at_start_fails_open() {
    let mut server = RedisServer::spawn();
    server.kill();
    let load = Load::on(&server.url());
    load.calls(200).await;
    server.restart();
    let cache = load.end("down at the start").await;
    recovers(&cache, &server.url()).await;
}

#[tokio::test]
async fn redis_restarted_empty_recovers() {
    let mut server = RedisServer::spawn();
    let load = Load::on(&server.url());
    load.calls(100).await;
    server.kill();
    load.calls(200).await;
    server.restart();
    load.calls(100).await;
    let cache = load.end("down later").await;
    recovers(&cache, &server.url()).await;
}

#[tokio::test]
async fn redis_stalled_is_bounded_by_redis_timeout() {
    let server = RedisServer::spawn();
    let load = Load::on(&server.url());
    load.calls(100).await;
    server.pause();
    load.calls(200).await;
    server.resume();
    load.calls(100).await;
    let cache = load.end("stalled").await;
    recovers(&cache, &server.url()).await;
}

#[tokio::test]
async fn redis_slow_is_bounded_by_redis_timeout() {
    let server = RedisServer::spawn();
    // Each lookup is too slow, but no claim is.
    let proxy = Proxy::spawn(&server, Duration::from_millis(40)).await;
    let load = Load::on(&proxy.url);
    load.calls(40).await;
    proxy.delay.store(0, Ordering::SeqCst);
    load.calls(100).await;
    let cache = load.end("slow").await;
    recovers(&cache, &server.url()).await;
}

#[tokio::test]
async fn redis_full_fails_open() {
    let server = RedisServer::builder().max_memory(1, "noeviction").spawn();
    let load = Load::on(&server.url());
    load.calls(200).await;
    assert!(load.cache.stats().store_errors > 0);
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    load.calls(100).await;
    let cache = load.end("full").await;
    recovers(&cache, &server.url()).await;
}

#[tokio::test]
async fn redis_read_only_replica_fails_open() {
    let primary = RedisServer::spawn();
    let server = RedisServer::builder().replica_of(&primary).spawn();
    let load = Load::on(&server.url());
    load.calls(200).await;
    assert!(load.cache.stats().store_errors > 0);
    server.command(&["REPLICAOF", "NO", "ONE"]).unwrap();
    load.calls(100).await;
    let cache = load.end("read-only").await;
    recovers(&cache, &server.url()).await;
}

#[cfg(feature = "redis-cluster")]
#[tokio::test(flavor = "multi_thread")]
async fn redis_cluster_node_down_fails_open() {
    let mut cluster = llm_testkit::redis::RedisCluster::spawn();
    let load = Load::on(&cluster.url());
    load.calls(200).await;
    cluster.nodes_mut()[2].kill();
    load.calls(400).await;
    cluster.nodes_mut()[2].restart();
    cluster.wait_until_healthy();
    let cache = load.end("one node of a Cluster down").await;
    recovers(&cache, &cluster.url()).await;
}

#[tokio::test]
async fn redis_flushed_recovers() {
    let server = RedisServer::spawn();
    let load = Load::on(&server.url());
    for _ in 0..4 {
        load.calls(100).await;
        server.command(&["FLUSHALL"]).unwrap();
        server.command(&["SCRIPT", "FLUSH"]).unwrap();
    }
    let cache = load.end("flushed").await;
    recovers(&cache, &server.url()).await;
}

#[tokio::test]
async fn redis_port_of_other_program_fails_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let garbage = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 512];
            while stream.read(&mut asked).await.is_ok_and(|read| read > 0) {
                if stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.is_err() {
                    break;
                }
            }
        }
    });
    let load = Load::on(&url);
    load.calls(200).await;
    load.end("garbage").await;
    garbage.abort();
}

#[tokio::test]
async fn redis_foreign_values_are_misses() {
    let server = RedisServer::spawn();
    let load = Load::on(&server.url());
    load.calls(100).await;
    server.command(&["SET", "llm:v1:{llm-cache-generations}:dropped", "garbage"]).unwrap();
    for name in server.command(&["KEYS", "*:entry"]).unwrap().lines() {
        server.command(&["SET", name, "garbage"]).unwrap();
    }
    load.calls(200).await;
    let cache = load.end("garbage under its names").await;
    recovers(&cache, &server.url()).await;
}
