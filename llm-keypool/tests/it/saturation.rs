//! Tests with more calls than the vendor admits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use llm_core::Error;
use llm_keypool::{Event, Group, KeyPool, KeyPoolBuilder, LeaseRequest, Member, Outcome, requests_per_minute};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    support::seeds,
    vendor::{Headers, Key, Vendor},
};

const LIMIT: u64 = 2_000;
const LATENCY: (u64, u64) = (200, 3_000);

/// Results of a run.
#[derive(Debug)]
struct Run {
    served: u64,
    refused: u64,
    failed: u64,
    longest_pause: Duration,
}

/// Makes one call, which must be served.
async fn serve(pool: &KeyPool<Key>) -> Result<(), Error> {
    loop {
        let lease = pool.lease(&LeaseRequest::new("gpt-4o")).await?;
        match lease.key().clone().send().await {
            Ok(None) => lease.report(Outcome::success()),
            Ok(Some(limits)) => lease.report(Outcome::success().limits(limits)),
            Err(error) => {
                lease.report(error.into());
                continue;
            }
        }
        return Ok(());
    }
}

/// Makes calls continuously for ten minutes.
async fn saturate(vendor: &Vendor, builder: KeyPoolBuilder<Key>, seed: u64) -> Run {
    let pauses = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&pauses);
    let start = Instant::now();
    let paused_at = AtomicU64::new(0);
    let builder = builder.seed(seed).max_wait(Duration::from_secs(90)).on_event(move |event: &Event| {
        let now = start.elapsed().as_millis() as u64;
        match event {
            Event::Paused { .. } => paused_at.store(now, Relaxed),
            Event::Resumed => drop(seen.fetch_max(now - paused_at.load(Relaxed), Relaxed)),
            _ => {}
        }
    });
    let pool = builder.build().unwrap();
    let failed = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..200 {
        let (pool, failed) = (pool.clone(), Arc::clone(&failed));
        workers.spawn(async move {
            loop {
                if serve(&pool).await.is_err() {
                    failed.fetch_add(1, Relaxed);
                }
            }
        });
    }
    tokio::time::sleep_until(start + Duration::from_millis(599_999)).await;
    drop(workers);
    let longest_pause = Duration::from_millis(pauses.load(Relaxed));
    let run = Run { served: vendor.served(), refused: vendor.refused(), failed: failed.load(Relaxed), longest_pause };
    println!("seed {seed}: {run:?}");
    run
}

fn pool(keys: [Key; 3], group: Option<&'static str>) -> KeyPoolBuilder<Key> {
    let member = |key: Key| {
        let member = Member::new(key.name, key);
        match group {
            Some(group) => member.group(group),
            None => member,
        }
    };
    KeyPool::builder().members(keys.map(member))
}

fn apart(vendor: &Vendor) -> [Key; 3] {
    ["a", "b", "c"].map(|name| vendor.key(name, name, LIMIT))
}

fn together(vendor: &Vendor) -> [Key; 3] {
    ["a", "b", "c"].map(|name| vendor.key(name, "org", LIMIT))
}

fn given(name: &'static str) -> Group {
    Group::new(name).limit("gpt-4o", requests_per_minute(LIMIT))
}

/// Makes calls continuously with each seed. A run is good if it serves at least `least_served` calls, and if few enough
/// of its attempts are refused.
async fn check(headers: Headers, least_served: u64, most_refused: u64, pool: impl Fn(&Vendor) -> KeyPoolBuilder<Key>) {
    let mut bad = Vec::new();
    for seed in seeds() {
        let vendor = Vendor::new(LATENCY, headers).seed(seed);
        let run = saturate(&vendor, pool(&vendor), seed).await;
        let is_good = run.served >= least_served && run.refused <= most_refused && run.failed == 0;
        bad.extend(Some(run).filter(|run| !is_good || run.longest_pause > Duration::from_secs(1)));
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

#[tokio::test(start_paused = true)]
async fn saturation_with_given_limits_serves_all() {
    let pool = |vendor: &Vendor| pool(apart(vendor), None).group(given("a")).group(given("b")).group(given("c"));
    check(Headers::None, 59_400, 60, pool).await;
}

#[tokio::test(start_paused = true)]
async fn saturation_with_stated_limits_serves_all() {
    check(Headers::Limits, 59_400, 60, |vendor| pool(apart(vendor), None)).await;
}

#[tokio::test(start_paused = true)]
async fn saturation_with_unknown_limits_learns_them() {
    check(Headers::None, 59_400, 300, |vendor| pool(apart(vendor), None)).await;
}

#[tokio::test(start_paused = true)]
async fn saturation_of_one_given_group_serves_all() {
    check(Headers::None, 19_800, 20, |vendor| pool(together(vendor), Some("org")).group(given("org"))).await;
}

#[tokio::test(start_paused = true)]
async fn saturation_of_vendor_named_group() {
    check(Headers::LimitsAndGroup, 19_800, 20, |vendor| pool(together(vendor), None)).await;
}

#[tokio::test(start_paused = true)]
async fn saturation_of_unknown_group_serves_nearly_all() {
    check(Headers::None, 19_600, 400, |vendor| pool(together(vendor), None)).await;
}

#[tokio::test(start_paused = true)]
async fn saturation_of_unknown_group_with_headers() {
    check(Headers::Limits, 19_600, 400, |vendor| pool(together(vendor), None)).await;
}

#[tokio::test(start_paused = true)]
async fn saturation_burst_of_hundred_waits_not() {
    let vendor = Vendor::new(LATENCY, Headers::None);
    let pool = pool(apart(&vendor), None).group(given("a")).build().unwrap();
    let leases: Vec<_> = (0..100).map(|_| pool.try_lease(&LeaseRequest::new("gpt-4o")).unwrap()).collect();
    assert_eq!(pool.status().members.iter().map(|member| member.in_flight).sum::<u32>(), 100);
    drop(leases);
    assert!(pool.status().members.iter().all(|member| member.in_flight == 0));
}
