//! `cargo bench -p benches`

mod memory_hit;

criterion::criterion_main!(memory_hit::benches);
