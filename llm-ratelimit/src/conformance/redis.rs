//! Compares each decision of accounts in Redis with that of accounts in memory, on one server, on one server with TLS,
//! and on a Cluster of three nodes.

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};

use super::{
    Make, is_full,
    suite::{Step, Subject, carried_by_memory, compare, in_memory, step},
};
use crate::redis::{accounts_on_cluster, accounts_on_one_server, accounts_with_tls};

/// Compares decisions until `decisions` of them have been made.
fn compare_decisions(make: Make, decisions: u64) {
    let mut made = 0;
    let mut runner = TestRunner::new_with_rng(
        ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(u32::MAX) },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    while made < decisions {
        let steps = prop::collection::vec(step(), 100).new_tree(&mut runner).expect("every step is possible").current();
        let asks = steps.iter().filter(|step| matches!(step, Step::Ask { .. })).count();
        made += asks as u64;
        let [ours, theirs] = [in_memory as Make, make].map(|make| Subject::new(make, carried_by_memory));
        compare(ours, theirs, steps).expect("they decide alike");
    }
    println!("{made} decisions, none differs, and no wait by more than a microsecond");
}

#[test]
fn redis_decides_as_memory() {
    compare_decisions(|| Box::new(accounts_on_one_server()), if is_full() { 40_000 } else { 300 });
}

#[test]
fn redis_with_tls_decides_as_memory() {
    compare_decisions(|| Box::new(accounts_with_tls()), if is_full() { 40_000 } else { 100 });
}

#[test]
fn redis_cluster_decides_as_memory() {
    compare_decisions(|| Box::new(accounts_on_cluster()), if is_full() { 40_000 } else { 100 });
}
