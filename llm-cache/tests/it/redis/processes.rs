//! One payment for each question among real processes, with the simulated vendor over HTTP.

use std::{collections::HashSet, time::Duration};

use llm_cache::{Cache, CacheLayer};
use llm_core::{Call, ChatRequest, into_provider};
use llm_providers::OpenAi;
use llm_testkit::{Latency, Vendor, redis::RedisServer};
use tokio::time::Instant;
use tower::ServiceBuilder;

use super::{
    ALLOWANCE,
    child::{Child, ready},
};

const LEASE: Duration = Duration::from_secs(1);

fn asker(server: &RedisServer, vendor: &str, calls: u32) -> Child {
    Child::spawn(&format!("ask {} {vendor} {calls}", server.url()))
}

/// A child's part: asks the same many times at once, and says how many were answered.
pub(super) async fn ask(redis: &str, vendor: &str, calls: u32) {
    let url = format!("{redis}?call_timeout=20s&lease={}ms", LEASE.as_millis());
    let cache = Cache::builder("tests").open(&url).expect("the address is right");
    let client = OpenAi::new("no-real-key").and_then(|client| client.base_url(vendor)).expect("the settings are right");
    let provider = into_provider(ServiceBuilder::new().layer(CacheLayer::new(cache.clone())).service(client));
    ready();
    let ask = async || provider.chat(Call::new("acme", ChatRequest::new("m").user("a"))).await;
    let replies = futures_util::future::join_all((0..calls).map(|_| ask())).await;
    let texts: Vec<_> = replies.into_iter().flatten().map(|reply| reply.output.text().into_owned()).collect();
    println!("child answered {} {}", texts.len(), texts.iter().collect::<HashSet<_>>().len());
    // Whoever ends before his answer is written lets the others ask again.
    cache.close().await.expect("it is written");
    println!("child stats {:?}", cache.stats());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_equal_calls_in_four_processes_are_paid_once() {
    let (server, vendor) = (RedisServer::spawn(), Vendor::new());
    vendor.set_latency(Latency::fixed(Duration::from_millis(300), Duration::ZERO));
    let face = vendor.serve().await;
    let mut askers: Vec<_> = (0..4).map(|_| asker(&server, &face.base_url(), 250)).collect();
    let answers = tokio::task::spawn_blocking(move || {
        askers.iter_mut().for_each(Child::go);
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
    let mut leader = asker(&server, &face.base_url(), 1);
    let mut others: Vec<_> = (0..2).map(|_| asker(&server, &face.base_url(), 250)).collect();
    leader.go();
    vendor.wait_until(|vendor| vendor.calls() == 1).await;
    vendor.set_latency(Latency::zero());
    others.iter_mut().for_each(Child::go);
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
