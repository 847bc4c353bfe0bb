//! `cargo bench -p benches`

mod codec;
mod memory_hit;

criterion::criterion_main!(memory_hit::benches, codec::benches);
