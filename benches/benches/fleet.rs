//! Measures a decision of a limiter in Redis, compared with an empty script, and a decision from a chunk, compared with
//! a limiter in memory.

use std::time::Instant;

use benches::fleet::{Accounts, Fleet};
use criterion::{Criterion, Throughput, criterion_group};

criterion_group!(name = benches; config = crate::short(); targets = decide, chunks);

/// Number of calls in a measured row of calls from chunks. It is large because one lease of a chunk serves many calls.
const CALLS: usize = 1_000;

fn decide(c: &mut Criterion) {
    for calls in [1, 64] {
        let fleet = Fleet::new();
        let mut group = c.benchmark_group(format!("limits over Redis, {calls} in flight"));
        group.throughput(Throughput::Elements(calls as u64));
        group.bench_function("floor: empty script", |b| b.iter(|| fleet.empty_scripts(calls)));
        group.bench_function("decide, one quota", |b| b.iter(|| fleet.decide(Accounts::OneQuota, calls)));
        group.bench_function("decide, three quotas", |b| b.iter(|| fleet.decide(Accounts::ThreeQuotas, calls)));
        group.finish();
        let [empty, one, three] =
            in_turn([&|| fleet.empty_scripts(calls), &|| fleet.decide(Accounts::OneQuota, calls), &|| {
                fleet.decide(Accounts::ThreeQuotas, calls)
            }]);
        println!(
            "limits over Redis, {calls} in flight: a decision takes {:.2} times an empty script, {:.2} with three quotas",
            one / empty,
            three / empty
        );
    }
}

fn chunks(c: &mut Criterion) {
    let fleet = Fleet::new();
    let mut group = c.benchmark_group("limits from chunks, reserve and settle");
    group.throughput(Throughput::Elements(CALLS as u64));
    group.bench_function("floor: memory", |b| b.iter(|| fleet.pass(Accounts::Memory, CALLS)));
    group.bench_function("one quota", |b| b.iter(|| fleet.pass(Accounts::Chunks, CALLS)));
    group.finish();
    let [memory, chunks] = in_turn([&|| fleet.pass(Accounts::Memory, CALLS), &|| fleet.pass(Accounts::Chunks, CALLS)]);
    println!("limits from chunks: a call takes {:.2} times one in memory", chunks / memory);
}

/// Returns the median time of each action, in seconds. The actions take turns, so that other load on the machine slows
/// all of them alike.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures the wall clock")]
fn in_turn<const N: usize>(acts: [&dyn Fn(); N]) -> [f64; N] {
    let mut took = [const { Vec::new() }; N];
    for _ in 0..200 {
        for (act, took) in acts.iter().zip(&mut took) {
            let start = Instant::now();
            act();
            took.push(start.elapsed());
        }
    }
    took.map(|mut took| {
        took.sort_unstable();
        took[took.len() / 2].as_secs_f64()
    })
}
