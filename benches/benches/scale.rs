//! Does a hit cost more where there are more entries?

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use benches::filled::Filled;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group};

criterion_group!(name = benches; config = crate::short(); targets = scale);

/// How often both sizes are timed in turn for the ratio.
const ROUNDS: usize = 60;

fn scale(c: &mut Criterion) {
    let mut group = c.benchmark_group("memory hit by entries, 60 B prompt, 60 B answer");
    let mut sizes = [None, None];
    for (filled, entries) in sizes.iter_mut().zip([1_000, 1_000_000]) {
        let mut number = 0;
        // Filled only if this is among the benches that were asked for.
        group.bench_function(BenchmarkId::from_parameter(entries), |b| {
            let filled = std::cell::RefCell::new(filled.get_or_insert_with(|| Filled::new(entries)));
            // A step that meets every entry once before it meets one again.
            let next = || {
                number = (number + 611_953) % entries;
                filled.borrow().question(number)
            };
            b.iter_batched(next, |call| black_box(filled.borrow_mut().answer(call)), BatchSize::SmallInput);
        });
    }
    group.finish();
    if let [Some(small), Some(large)] = sizes {
        compare([small, large]);
    }
}

/// What a hit takes at both sizes, in turn, beside a bare moka of as many entries.
fn compare(mut sizes: [Filled; 2]) {
    let floors = sizes.each_ref().map(floor);
    // In turn, and the quickest of many rounds: what else the machine does only ever adds.
    let mut times = [Duration::MAX; 4];
    for _ in 0..ROUNDS {
        for (at, filled) in sizes.iter_mut().enumerate() {
            let entries = filled.entries();
            times[at] = times[at].min(hits(entries, |number| drop(black_box(filled.ask(number)))));
            let floor = hits(entries, |number| drop(black_box(floors[at].get(&key(number)[..]))));
            times[2 + at] = times[2 + at].min(floor);
        }
    }
    let [small, large, small_floor, large_floor] = times.map(|time| time.as_nanos());
    println!("a hit at 1,000 and at 1,000,000 entries, quickest of {ROUNDS} rounds, making the question included:");
    println!("  whole layer: {small} and {large} ns, {:.2} times as long", large as f64 / small as f64);
    println!(
        "  floor, moka get: {small_floor} and {large_floor} ns, {:.2} times as long",
        large_floor as f64 / small_floor as f64
    );
    println!("bytes counted for an entry: {} and {}", sizes[0].counted(), sizes[1].counted());
}

type Moka = moka::sync::Cache<Vec<u8>, Arc<u64>>;

/// A bare moka with as many entries.
fn floor(filled: &Filled) -> Moka {
    let moka = Moka::builder().max_capacity(u64::MAX).build();
    (0..filled.entries()).for_each(|number| moka.insert(key(number), Arc::new(number)));
    moka.run_pending_tasks();
    moka
}

fn key(number: u64) -> Vec<u8> {
    format!("Name a test case for the field of a login form: {number:012}").into_bytes()
}

/// The mean time of a hit on one of 1,000 entries that lie far from each other among so many.
#[expect(clippy::disallowed_methods, reason = "a bench measures the wall")]
fn hits(entries: u64, mut ask: impl FnMut(u64)) -> Duration {
    const HITS: u32 = 20_000;
    let start = Instant::now();
    for number in 0..u64::from(HITS) {
        ask(number % 1_000 * (entries / 1_000));
    }
    start.elapsed() / HITS
}
