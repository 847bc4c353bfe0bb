//! Conversations stay with the group whose vendor has their beginning cached.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use llm_core::Usage;
use llm_keypool::{KeyPool, KeyPoolBuilder, LeaseRequest, Member, Outcome};

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Runs conversations of ten turns each, in turn, over eight organisations with a prompt cache each. Returns the share of
/// input tokens that were cached, in percent.
async fn cached_share(builder: KeyPoolBuilder<&'static str>, organisations: usize) -> u64 {
    let members = NAMES[..organisations].iter().map(|name| Member::new(*name, *name));
    let pool = builder.members(members).seed(7).build().unwrap();
    let caches = Arc::new(Mutex::new(HashSet::new()));
    let (mut input, mut cached) = (0, 0);
    for _turn in 0..10 {
        for conversation in 1..=101_u64 {
            let lease = pool.lease(&LeaseRequest::new("m").affinity("acme", conversation)).await.unwrap();
            let is_cached = !caches.lock().unwrap().insert((*lease.key(), conversation));
            let usage = Usage { cache_read: if is_cached { 2_000 } else { 0 }, ..Usage::new(2_000, 100) };
            (input, cached) = (input + usage.input, cached + usage.cache_read);
            lease.report(Outcome::success().usage(usage));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    cached * 100 / input
}

#[tokio::test(start_paused = true)]
async fn affinity_reads_prompt_cache_as_one_organisation_does() {
    let one = cached_share(KeyPool::builder(), 1).await;
    let eight = cached_share(KeyPool::builder().affinity(true), 8).await;
    let turns = cached_share(KeyPool::builder().round_robin(true), 8).await;
    assert!(eight * 100 >= one * 95, "{eight} % of {one} %");
    assert!(turns < 30, "{turns} % in turn");
}

#[tokio::test(start_paused = true)]
async fn affinity_waits_briefly_and_then_moves() {
    let members = ["a", "b"].map(|name| Member::new(name, name).max_in_flight(1));
    let pool = KeyPool::builder().members(members).affinity(true).seed(7).build().unwrap();
    let request = LeaseRequest::new("m").affinity("acme", 7);
    let usage = Usage { cache_read: 900, ..Usage::new(1_000, 1) };
    let first = pool.lease(&request).await.unwrap();
    let home = *first.key();
    first.report(Outcome::success().usage(usage));
    assert_eq!(*pool.lease(&request).await.unwrap().key(), home);
    let held = pool.lease(&request).await.unwrap();
    let start = tokio::time::Instant::now();
    assert_ne!(*pool.lease(&request).await.unwrap().key(), home);
    assert!(start.elapsed() <= Duration::from_millis(200));
    drop(held);
}
