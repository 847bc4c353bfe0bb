//! Measures a cache hit from a file, and a hit in the memory cache in front of it.

use std::hint::black_box;

use benches::{
    hit::{call_of, of_2_kb},
    vendor::AtOnce,
};
use criterion::{BatchSize, Criterion, criterion_group};
use llm_cache::{Cache, Cached};
use redb::{Database, TableDefinition};
use tower::Service;

criterion_group!(name = benches; config = crate::short(); targets = stored);

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("floor");

fn stored(c: &mut Criterion) {
    let mut group = c.benchmark_group("hit outside memory, 2 KB prompt, 2 KB response");
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let runtime = crate::runtime();
    for (name, memory) in [("file", ""), ("memory in front of a file", "?memory=64mb")] {
        let path = folder.path().join(name.replace(' ', "-"));
        let cache = {
            let _entered = runtime.enter();
            Cache::builder("bench").open(&format!("file://{}{memory}", path.display())).expect("the file is ours")
        };
        let mut layer = Cached::new(AtOnce::saying(&of_2_kb("given a user when ")), cache.clone());
        runtime.block_on(async {
            layer.call(call_of("acme")).await.expect("the vendor responds");
            cache.close().await.expect("the disk has room");
        });
        group.bench_function(name, |b| {
            let call = || call_of("acme");
            b.iter_batched(call, |call| runtime.block_on(layer.call(call)).map(black_box), BatchSize::SmallInput);
        });
        assert_eq!(cache.stats().misses, 1, "every other call was a hit");
    }

    let database = Database::create(folder.path().join("floor")).expect("the file is ours");
    let text =
        serde_json::to_vec(AtOnce::saying(&of_2_kb("given a user when ")).response()).expect("a response is data");
    let write = database.begin_write().expect("nobody else writes");
    write.open_table(TABLE).expect("new").insert(&[7; 48][..], &text[..]).expect("there is room");
    write.commit().expect("there is room");
    let read = || {
        let table = database.begin_read().ok()?.open_table(TABLE).ok()?;
        table.get(&[7; 48][..]).ok()?.map(|value| value.value().len())
    };
    group.bench_function("floor: redb get of as many bytes", |b| b.iter(|| black_box(read().expect("it was written"))));
    group.bench_function("floor: a task on tokio's blocking threads", |b| {
        b.iter(|| runtime.block_on(async { tokio::task::spawn_blocking(|| black_box(7)).await }));
    });
    group.bench_function("floor: decoding the response", |b| {
        b.iter(|| serde_json::from_slice::<llm_core::ChatResponse>(black_box(&text)).map(black_box));
    });
    group.finish();
}
