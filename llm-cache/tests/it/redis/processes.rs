//! Real processes: this program again, with the simulated vendor over HTTP.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use llm_cache::{Cache, CacheLayer};
use llm_core::{Call, ChatRequest, into_provider};
use llm_providers::OpenAi;
use llm_testkit::{Latency, Vendor, redis::RedisServer};
use tokio::time::Instant;
use tower::ServiceBuilder;

use super::ALLOWANCE;

/// Tells a child where Redis and the vendor are, and how often to ask.
const CHILD: &str = "LLM_CACHE_TEST_PROCESS";
const LEASE: Duration = Duration::from_secs(2);

/// Another process; killed on drop.
struct Asker {
    child: Child,
    go: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Asker {
    /// A process that is ready to ask.
    fn spawn(server: &RedisServer, vendor: &str, calls: u32) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
            .args(["redis::processes::child", "--exact", "--nocapture"])
            .env(CHILD, format!("{} {vendor} {calls}", server.url()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this program starts");
        let go = child.stdin.take().expect("it is piped");
        let says = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut asker = Self { child, go, says };
        asker.waits_for("ready");
        asker
    }

    fn go(&mut self) {
        writeln!(self.go, "go").expect("it listens");
    }

    /// The rest of the line that begins so.
    fn waits_for(&mut self, wanted: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.says.read_line(&mut line).expect("it speaks") > 0, "it ended before it said {wanted:?}");
            // The test harness writes before what is printed first.
            if let Some((_, rest)) = line.split_once(&format!("asker {wanted}")) {
                return rest.trim().to_owned();
            }
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child: asks the same many times at once, and says how many were answered.
#[test]
#[expect(clippy::disallowed_methods, reason = "this is the edge of the child process")]
fn child() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let [redis, vendor, calls] = told.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = format!("{redis}?call_timeout=20s&lease={}ms", LEASE.as_millis());
        let cache = Cache::builder("tests").open(&url).unwrap();
        let client = OpenAi::new("no-real-key").unwrap().base_url(vendor).unwrap();
        let provider = into_provider(ServiceBuilder::new().layer(CacheLayer::new(cache.clone())).service(client));
        println!("asker ready");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        let asked = (0..calls.parse().unwrap()).map(|_| {
            let provider = Arc::clone(&provider);
            tokio::spawn(async move { provider.chat(Call::new("acme", ChatRequest::new("m").user("a"))).await })
        });
        let (mut answered, mut texts) = (0, std::collections::HashSet::new());
        for call in asked.collect::<Vec<_>>() {
            if let Ok(reply) = call.await.unwrap() {
                answered += 1;
                texts.insert(reply.output.text().into_owned());
            }
        }
        println!("asker answered {answered} {}", texts.len());
        // Whoever ends before his answer is written lets the others ask again.
        cache.close().await.unwrap();
        println!("asker stats {:?}", cache.stats());
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_equal_calls_in_four_processes_are_paid_once() {
    let (server, vendor) = (RedisServer::spawn(), Vendor::new());
    vendor.set_latency(Latency::fixed(Duration::from_millis(300), Duration::ZERO));
    let face = vendor.serve().await;
    let mut askers: Vec<_> = (0..4).map(|_| Asker::spawn(&server, &face.base_url(), 250)).collect();
    let answers = tokio::task::spawn_blocking(move || {
        askers.iter_mut().for_each(Asker::go);
        askers.iter_mut().map(|asker| (asker.waits_for("answered"), asker.waits_for("stats"))).collect::<Vec<_>>()
    });
    let (answers, stats): (Vec<_>, Vec<_>) = answers.await.unwrap().into_iter().unzip();
    assert_eq!(answers, ["250 1"; 4]);
    assert_eq!(vendor.calls(), 1, "{stats:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_is_replaced_within_its_lease() {
    let (server, vendor) = (RedisServer::spawn(), Vendor::new());
    vendor.set_latency(Latency::fixed(Duration::from_secs(60), Duration::ZERO));
    let face = vendor.serve().await;
    let mut leader = Asker::spawn(&server, &face.base_url(), 1);
    let mut others: Vec<_> = (0..2).map(|_| Asker::spawn(&server, &face.base_url(), 250)).collect();
    leader.go();
    vendor.wait_until(|vendor| vendor.calls() == 1).await;
    vendor.set_latency(Latency::zero());
    others.iter_mut().for_each(Asker::go);
    let waiting = || server.command(&["PUBSUB", "CHANNELS", "*:wake"]).unwrap().lines().count();
    // What is invalidated has a channel too.
    while waiting() < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let killed = Instant::now();
    drop(leader);
    let answers = tokio::task::spawn_blocking(move || {
        others.iter_mut().map(|asker| asker.waits_for("answered")).collect::<Vec<_>>()
    });
    assert_eq!(answers.await.unwrap(), ["250 1"; 2]);
    let took = killed.elapsed();
    println!("answered {took:?} after the leader was killed; the lease is {LEASE:?}");
    assert!(took < LEASE + Duration::from_secs(1) + ALLOWANCE, "{took:?}");
    assert_eq!(vendor.calls(), 2);
}
