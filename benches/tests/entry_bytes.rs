//! Compares the live bytes of entries with the bytes that the cache counts. It runs in a process of its own, because
//! epoch-based tables can free another test's garbage on this test's thread.

use benches::filled::Filled;

/// Stores a million entries with `LLM_FULL` set, and 1,500 without.
#[test]
fn entry_takes_at_most_its_counted_bytes() {
    #[expect(clippy::disallowed_methods, reason = "a test's edge")]
    let full = std::env::var_os("LLM_FULL").is_some();
    let sizes = if full { [1_000, 1_000_000] } else { [300, 1_500] };
    let taken = sizes.map(|entries| {
        let mut filled = None;
        let counted = allocation_counter::measure(|| filled = Some(Filled::new(entries)));
        let filled = filled.expect("it was filled");
        let taken = u64::try_from(counted.bytes_current).expect("it holds something") / entries;
        println!("{entries} entries: {taken} bytes each, which count for {}", filled.counted());
        assert!(taken <= filled.counted(), "{taken} bytes an entry, counted as {}", filled.counted());
        taken
    });
    assert!(taken[1] * 2 <= taken[0] * 3, "{taken:?} bytes an entry");
}
