//! Counts how many often-used entries survive a scan of new ones. The counts are printed; the measured time is that of
//! the scan through the real layer.

use benches::hit_rate::{Scan, survival};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use llm_cache::EvictionPolicy;

criterion_group!(name = benches; config = crate::short().sample_size(10); targets = scan);

const SCAN: Scan = Scan { hot: 100, capacity: 200, scanned: 10_000, hot_every: 2 };

fn scan(c: &mut Criterion) {
    let mut group = c.benchmark_group("a scan of 10,000 past 100 hot entries, with room for 200");
    group.throughput(Throughput::Elements(SCAN.scanned.into()));
    let runtime = crate::runtime();
    for policy in [EvictionPolicy::Lru, EvictionPolicy::TinyLfu] {
        println!("{policy:?}: {:?}", runtime.block_on(survival(&SCAN, policy)));
        group.bench_function(BenchmarkId::from_parameter(format!("{policy:?}")), |b| {
            b.iter(|| runtime.block_on(survival(&SCAN, policy)));
        });
    }
    group.finish();
}
