//! Tests that several real processes pay for each request once, with the simulated vendor over HTTP.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use llm_cache::{Cache, CacheLayer};
use llm_core::{Call, ChatRequest, into_provider};
use llm_providers::OpenAi;
use llm_testkit::{Latency, Vendor, redis::RedisServer};
use tokio::time::Instant;
use tower::ServiceBuilder;

use super::{
    child::{Child, ready},
    is_full, leases, until,
};

const LEASE: Duration = Duration::from_secs(1);

/// Parameters of a process that waits for Redis as long as necessary.
const PATIENT: &str = "redis_timeout=20s&claim_timeout=20s";

fn asker(server: &RedisServer, parameters: &str, vendor: &str, calls: u32) -> Child {
    Child::spawn(&format!("ask {}?{parameters} {vendor} {calls}", server.url()))
}

/// Role of a child process: sends the same request many times at once, and prints the number of responses.
pub(super) async fn ask(redis: &str, vendor: &str, calls: u32) {
    let cache = Cache::builder("tests").open(redis).expect("the address is right");
    let client = OpenAi::new("no-real-key").and_then(|client| client.base_url(vendor)).expect("the settings are right");
    let provider = into_provider(ServiceBuilder::new().layer(CacheLayer::new(cache.clone())).service(client));
    ready();
    let ask = async || provider.chat(Call::new("acme", ChatRequest::new("m").user("a"))).await;
    let replies = futures_util::future::join_all((0..calls).map(|_| ask())).await;
    let texts: Vec<_> = replies.into_iter().flatten().map(|reply| reply.output.text().into_owned()).collect();
    println!("child answered {} {}", texts.len(), texts.iter().collect::<HashSet<_>>().len());
    // If a process ends before its response is written, the other processes send the request again.
    cache.close().await.expect("it is written");
    println!("child stats {:?}", cache.stats());
}

#[tokio::test(flavor = "multi_thread")]
async fn fleet_of_four_processes_sends_one_call() {
    let (server, vendor) = (RedisServer::spawn(), Vendor::new());
    vendor.set_latency(Latency::fixed(Duration::from_millis(300), Duration::ZERO));
    let face = vendor.serve().await;
    let stats = four_ask(&server, PATIENT, &face.base_url()).await;
    assert_eq!(vendor.calls(), 1, "{stats:#?}");
}

/// Lets four processes send the same request 250 times each. Returns their statistics.
async fn four_ask(server: &RedisServer, parameters: &str, vendor: &str) -> Vec<String> {
    let mut askers: Vec<_> = (0..4).map(|_| asker(server, parameters, vendor, 250)).collect();
    let responses = tokio::task::spawn_blocking(move || {
        askers.iter_mut().for_each(Child::go);
        askers.iter_mut().map(|asker| (asker.waits_for("answered"), asker.waits_for("stats"))).collect::<Vec<_>>()
    });
    let (responses, stats): (Vec<_>, Vec<_>) = responses.await.expect("the children go on").into_iter().unzip();
    assert_eq!(responses, ["250 1"; 4]);
    stats
}

/// Loops that keep two processors busy until they are dropped.
struct BusyLoops(Arc<AtomicBool>);

impl BusyLoops {
    fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        for _ in 0..2 {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || while !is_over.load(Ordering::Relaxed) {});
        }
        Self(is_over)
    }
}

impl Drop for BusyLoops {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// By default, lookups may take 50 ms and claims a second. All rounds use the defaults at full sizes. Otherwise, claims
/// may take as long as a busy machine needs.
#[tokio::test(flavor = "multi_thread")]
async fn claim_timeout_pays_once_under_load() {
    let (rounds, parameters) = if is_full() { (25, "") } else { (2, "claim_timeout=20s") };
    let (server, vendor) = (RedisServer::spawn(), Vendor::new());
    vendor.set_latency(Latency::fixed(Duration::from_millis(300), Duration::ZERO));
    let face = vendor.serve().await;
    let _busy = BusyLoops::start();
    for round in 1..=rounds {
        let begun = Instant::now();
        let stats = four_ask(&server, parameters, &face.base_url()).await;
        println!("round {round}: {} upstream calls so far, {:?}", vendor.calls(), begun.elapsed());
        assert_eq!(vendor.calls(), round, "{stats:#?}");
        assert_eq!(leases(&server), "");
        server.command(&["FLUSHALL"]).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lease_of_killed_leader_expires() {
    let (server, vendor) = (RedisServer::spawn(), Vendor::new());
    vendor.set_latency(Latency::fixed(Duration::from_secs(60), Duration::ZERO));
    let face = vendor.serve().await;
    let parameters = format!("{PATIENT}&lease={}ms", LEASE.as_millis());
    let mut leader = asker(&server, &parameters, &face.base_url(), 1);
    let mut others: Vec<_> = (0..2).map(|_| asker(&server, &parameters, &face.base_url(), 250)).collect();
    leader.go();
    vendor.wait_until(|vendor| vendor.calls() == 1).await;
    vendor.set_latency(Latency::zero());
    others.iter_mut().for_each(Child::go);
    let waiting = || server.command(&["PUBSUB", "CHANNELS", "*:wake"]).unwrap().lines().count();
    // Invalidations have a channel too, so the pattern selects that of the waiters.
    until(|| waiting() >= 2).await;
    let killed = Instant::now();
    drop(leader);
    let responses = tokio::task::spawn_blocking(move || {
        others.iter_mut().map(|asker| asker.waits_for("answered")).collect::<Vec<_>>()
    });
    assert_eq!(responses.await.unwrap(), ["250 1"; 2]);
    println!("answered {:?} after the leader was killed; the lease is {LEASE:?}", killed.elapsed());
    assert_eq!(vendor.calls(), 2);
}
