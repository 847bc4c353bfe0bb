//! Measures whether a cache hit takes longer with more entries.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use benches::filled::Filled;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group};

criterion_group!(name = benches; config = crate::short(); targets = scale);

/// Number of rounds in which both sizes are timed in turn.
const ROUNDS: usize = 30;

fn scale(c: &mut Criterion) {
    let mut group = c.benchmark_group("memory hit by entries, 60 B prompt, 60 B response");
    let mut sizes = [None, None];
    for (filled, entries) in sizes.iter_mut().zip([1_000, 1_000_000]) {
        let mut number = 0;
        // The cache is filled only if this benchmark was selected on the command line.
        group.bench_function(BenchmarkId::from_parameter(entries), |b| {
            let filled = std::cell::RefCell::new(filled.get_or_insert_with(|| Filled::new(entries)));
            // The step and `entries` have no common divisor, so that every entry is requested once before any is
            // requested again.
            let next = || {
                number = (number + 611_953) % entries;
                filled.borrow().call(number)
            };
            b.iter_batched(next, |call| black_box(filled.borrow_mut().send(call)), BatchSize::SmallInput);
        });
    }
    group.finish();
    if let [Some(small), Some(large)] = sizes {
        compare([small, large]);
    }
}

/// Prints the time of a hit at both sizes, compared with a bare moka cache of as many entries.
fn compare(mut sizes: [Filled; 2]) {
    let floors = sizes.each_ref().map(floor);
    println!("a hit at 1,000 and at 1,000,000 entries, quickest of {ROUNDS} rounds, making the call included:");
    for (which, spread) in [("1,000 of them in turn", Spread::Thousand), ("all in turn", Spread::All)] {
        // The sizes take turns, and the quickest of many rounds counts: other load on the machine can only add time.
        let mut times = [Duration::MAX; 4];
        for _ in 0..ROUNDS {
            for (at, filled) in sizes.iter_mut().enumerate() {
                let entries = filled.entries();
                let hit = hits(entries, spread, |number| drop(black_box(filled.send_number(number))));
                let floor = hits(entries, spread, |number| drop(black_box(floors[at].get(&key(number)[..]))));
                times[at] = times[at].min(hit);
                times[2 + at] = times[2 + at].min(floor);
            }
        }
        for (name, [small, large]) in [("whole layer", [times[0], times[1]]), ("floor, moka get", [times[2], times[3]])]
        {
            let (small, large) = (small.as_nanos(), large.as_nanos());
            println!("  {which}, {name}: {small} and {large} ns, {:.2} times as long", large as f64 / small as f64);
        }
    }
    println!("bytes counted for an entry: {} and {}", sizes[0].counted(), sizes[1].counted());
}

/// Entries that are requested.
#[derive(Clone, Copy)]
enum Spread {
    /// Always the same 1,000 entries, far from each other. This shows what the number of the other entries costs.
    Thousand,
    /// All entries in turn. If they are many, none is requested twice in a round, and none is in a processor's cache.
    All,
}

type Moka = moka::sync::Cache<Vec<u8>, Arc<u64>>;

/// Creates a bare moka cache with as many entries.
fn floor(filled: &Filled) -> Moka {
    let moka = Moka::builder().max_capacity(u64::MAX).build();
    (0..filled.entries()).for_each(|number| moka.insert(key(number), Arc::new(number)));
    moka.run_pending_tasks();
    moka
}

fn key(number: u64) -> Vec<u8> {
    format!("Name a test case for the field of a login form: {number:012}").into_bytes()
}

/// Returns the mean time of a hit in a cache with `entries` entries.
#[expect(clippy::disallowed_methods, reason = "a bench measures the wall")]
fn hits(entries: u64, spread: Spread, mut send: impl FnMut(u64)) -> Duration {
    const HITS: u32 = 100_000;
    let start = Instant::now();
    for number in 0..u64::from(HITS) {
        send(match spread {
            Spread::Thousand => number % 1_000 * (entries / 1_000),
            Spread::All => number * 611_953 % entries,
        });
    }
    start.elapsed() / HITS
}
