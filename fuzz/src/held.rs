//! Bound on the memory that a target holds.

use std::cell::Cell;

/// Bytes that a client, its call and a stream's buffers take for every input.
const BASE: u64 = 64 << 10;

thread_local! {
    static MOST: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Runs this, and checks that it never held more than a base and `factor` bytes for each of `bytes`.
///
/// What the input itself takes is not counted: it was there before.
///
/// # Panics
///
/// If the function held more.
pub fn bounded<T>(bytes: usize, factor: u64, run: impl FnOnce() -> T) -> T {
    let mut result = None;
    let info = allocation_counter::measure(|| result = Some(run()));
    let (held, bytes) = (info.bytes_max, bytes as u64);
    MOST.set((MOST.get().0.max(held), MOST.get().1.max(held.saturating_sub(BASE).div_ceil(bytes.max(1)))));
    let bound = BASE + factor * bytes;
    assert!(held <= bound, "{held} bytes were held for {bytes} bytes of input, more than {bound}");
    result.expect("it was run")
}

/// Resets the largest amount that was held.
pub fn forget() {
    MOST.set((0, 0));
}

/// Returns the largest number of bytes that was held at one time on this thread, and the largest excess over the base
/// for each byte of an input.
pub fn most() -> (u64, u64) {
    MOST.get()
}
