//! More calls than the vendor admits.

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

use crate::vendor::{Headers, Key, Vendor};

const LIMIT: u64 = 2_000;
const LATENCY: (u64, u64) = (200, 3_000);

/// Figures of a run.
#[derive(Debug)]
struct Run {
    served: u64,
    refused: u64,
    failed: u64,
    /// Of the first minute.
    early: (u64, u64),
    longest_pause: Duration,
}

/// Has one call served.
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

/// Calls without end for ten minutes.
async fn saturate(vendor: &Vendor, builder: KeyPoolBuilder<Key>) -> Run {
    let pauses = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&pauses);
    let start = Instant::now();
    let paused_at = AtomicU64::new(0);
    let builder = builder.seed(7).max_wait(Duration::from_secs(90)).on_event(move |event: &Event| {
        let now = start.elapsed().as_millis() as u64;
        match event {
            Event::Paused { .. } => paused_at.store(now, Relaxed),
            Event::Resumed => drop(seen.fetch_max(now - paused_at.load(Relaxed), Relaxed)),
            _ => {}
        }
    });
    let pool = builder.build().unwrap();
    let (end, failed) = (start + Duration::from_secs(600), Arc::new(AtomicU64::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..200 {
        let (pool, failed) = (pool.clone(), Arc::clone(&failed));
        workers.spawn(async move {
            while Instant::now() < end {
                if let Ok(Err(_)) = tokio::time::timeout_at(end, serve(&pool)).await {
                    failed.fetch_add(1, Relaxed);
                }
            }
        });
    }
    tokio::time::sleep_until(start + Duration::from_secs(60)).await;
    let early = (vendor.served(), vendor.refused());
    tokio::time::sleep_until(end - Duration::from_millis(1)).await;
    let refused = vendor.refused();
    workers.join_all().await;
    let longest_pause = Duration::from_millis(pauses.load(Relaxed));
    let run = Run { served: vendor.served(), refused, failed: failed.load(Relaxed), early, longest_pause };
    println!("{run:?}");
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

#[tokio::test(start_paused = true)]
async fn saturation_with_given_limits_serves_all() {
    let vendor = Vendor::new(LATENCY, Headers::None);
    let builder = pool(apart(&vendor), None).group(given("a")).group(given("b")).group(given("c"));
    let run = saturate(&vendor, builder).await;
    assert!(run.served >= 59_400 && run.refused <= 60 && run.failed == 0, "{run:?}");
}

#[tokio::test(start_paused = true)]
async fn saturation_with_stated_limits_serves_all() {
    let vendor = Vendor::new(LATENCY, Headers::Limits);
    let run = saturate(&vendor, pool(apart(&vendor), None)).await;
    let (served, refused) = (run.served - run.early.0, run.refused - run.early.1);
    assert!(served >= 53_460 && refused <= 54 && run.failed == 0, "{run:?}");
}

#[tokio::test(start_paused = true)]
async fn saturation_with_unknown_limits_learns_them() {
    let vendor = Vendor::new(LATENCY, Headers::None);
    let run = saturate(&vendor, pool(apart(&vendor), None)).await;
    assert!(run.served >= 59_400 && run.refused <= 300 && run.failed == 0, "{run:?}");
    // A second, and the response to the call that tests.
    assert!(run.longest_pause <= Duration::from_secs(1 + 3), "{run:?}");
}

#[tokio::test(start_paused = true)]
async fn saturation_of_one_given_group_serves_all() {
    let vendor = Vendor::new(LATENCY, Headers::None);
    let run = saturate(&vendor, pool(together(&vendor), Some("org")).group(given("org"))).await;
    assert!(run.served >= 19_800 && run.refused <= 20 && run.failed == 0, "{run:?}");
}

#[tokio::test(start_paused = true)]
async fn saturation_of_group_named_by_vendor_serves_all() {
    let vendor = Vendor::new(LATENCY, Headers::LimitsAndGroup);
    let run = saturate(&vendor, pool(together(&vendor), None)).await;
    assert!(run.served >= 19_800 && run.refused <= 20 && run.failed == 0, "{run:?}");
}

#[tokio::test(start_paused = true)]
async fn saturation_of_unknown_group_serves_nearly_all() {
    for headers in [Headers::None, Headers::Limits] {
        let vendor = Vendor::new(LATENCY, headers);
        let run = saturate(&vendor, pool(together(&vendor), None)).await;
        assert!(run.served >= 19_600 && run.refused <= 400 && run.failed == 0, "{headers:?} {run:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn saturation_hundred_calls_at_once_wait_for_nothing() {
    let vendor = Vendor::new(LATENCY, Headers::None);
    let pool = pool(apart(&vendor), None).group(given("a")).build().unwrap();
    let leases: Vec<_> = (0..100).map(|_| pool.try_lease(&LeaseRequest::new("gpt-4o")).unwrap()).collect();
    assert_eq!(pool.status().members.iter().map(|member| member.in_flight).sum::<u32>(), 100);
    drop(leases);
    assert!(pool.status().members.iter().all(|member| member.in_flight == 0));
}
