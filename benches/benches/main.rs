//! `cargo bench -p benches`

#![expect(missing_docs, reason = "criterion's macros make undocumented functions")]

mod memory_hit;

criterion::criterion_main!(memory_hit::benches);
