//! Measures a decision of the limiter, compared with the work that any limiter must do.

use std::{hint::black_box, thread, time::Instant};

use benches::{
    hit::{at_once, call_of, of_2_kb},
    ratelimit::{Gate, governor, governor_full},
    vendor::AtOnce,
};
use criterion::{BatchSize, Criterion, criterion_group};

criterion_group! {
    name = benches;
    config = crate::short();
    targets = decide, layer, contend, crowd
}

fn decide(c: &mut Criterion) {
    let mut group = c.benchmark_group("limiter, one tenant");
    let (keyed, tenant) = (governor(), "acme".to_owned());
    group.bench_function("floor: keyed governor check", |b| b.iter(|| black_box(keyed.check_key(black_box(&tenant)))));
    let clock = llm_core::SystemClock;
    group.bench_function("floor: wall clock", |b| b.iter(|| black_box(llm_core::Clock::now(&clock))));
    let (single, four) = (Gate::single(), Gate::four());
    // A forgotten reservation is never settled, so that only the decision is measured.
    group.bench_function("decide, one quota", |b| {
        b.iter(|| std::mem::forget(single.limiter.try_reserve(black_box(&single.demand))));
    });
    let (single_full, four_full) = (Gate::single_full(), Gate::four_full());
    group.bench_function("refuse, one quota", |b| b.iter(|| single_full.is_open(black_box(&single_full.demand))));
    group.bench_function("refuse, four quotas in three scopes", |b| {
        b.iter(|| four_full.is_open(black_box(&four_full.demand)));
    });
    let full = governor_full();
    group.bench_function("floor: keyed governor refusal", |b| b.iter(|| black_box(full.check_key(black_box(&tenant)))));
    let single = Gate::single();
    group.bench_function("reserve and settle, one quota", |b| b.iter(|| single.pass(black_box(&single.demand))));
    group.bench_function("reserve and settle, four quotas in three scopes", |b| {
        b.iter(|| four.pass(black_box(&four.demand)));
    });
    group.finish();
}

/// Measures a call through the limiter layer, compared with the service below it alone.
fn layer(c: &mut Criterion) {
    let mut group = c.benchmark_group("limiter layer, 2 KB prompt, 2 KB response");
    let mut vendor = AtOnce::saying(&of_2_kb("given a user when "));
    let call = || call_of("acme");
    group.bench_function("floor: the service below", |b| {
        b.iter_batched(call, |call| black_box(at_once(&mut vendor, call)), BatchSize::SmallInput);
    });
    for (name, gate) in [("one quota", Gate::single()), ("four quotas in three scopes", Gate::four())] {
        let mut service = gate.layer(vendor.clone());
        group.bench_function(name, |b| {
            b.iter_batched(call, |call| black_box(at_once(&mut service, call)), BatchSize::SmallInput);
        });
    }
    group.finish();
}

#[expect(clippy::disallowed_methods, reason = "a bench measures the wall")]
fn contend(c: &mut Criterion) {
    const THREADS: u64 = 4;
    let mut group = c.benchmark_group("limiter, four threads");
    for (name, gate) in [("one quota", Gate::single()), ("four quotas", Gate::four())] {
        group.bench_function(format!("reserve and settle, {name}"), |b| {
            b.iter_custom(|calls| {
                let began = Instant::now();
                thread::scope(|scope| {
                    for _ in 0..THREADS {
                        scope.spawn(|| (0..calls / THREADS + 1).for_each(|_| gate.pass(&gate.demand)));
                    }
                });
                began.elapsed()
            });
        });
    }
    group.finish();
}

/// Measures 100,000 tenants that call in turn, so that their accounts are in no processor's cache. Calls of only 100 of
/// them show the cost of the number of accounts alone.
fn crowd(c: &mut Criterion) {
    let mut group = c.benchmark_group("limiter, many tenants");
    for (tenants, active) in [(100, 100), (100_000, 100), (100_000, 100_000)] {
        let gate = Gate::single();
        let (demands, keyed) = (gate.crowd(tenants), governor());
        let names: Vec<String> = demands.iter().map(|of| of.tenant.to_string()).collect();
        demands.iter().for_each(|demand| gate.pass(demand));
        names.iter().for_each(|name| drop(black_box(keyed.check_key(name))));
        let mut next = names.iter().step_by(tenants / active).cycle();
        group.bench_function(format!("floor: keyed governor check, {active} of {tenants} tenants"), |b| {
            b.iter(|| black_box(keyed.check_key(next.next().expect("a cycle has no end"))));
        });
        let mut next = demands.iter().step_by(tenants / active).cycle();
        group.bench_function(format!("reserve and settle, {active} of {tenants} tenants"), |b| {
            b.iter(|| gate.pass(next.next().expect("a cycle has no end")));
        });
    }
    group.finish();
}
