//! Counter of events that occur on many threads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::per_thread::PerThread;

/// Counter that each thread increments on its own, so that counting writes nothing that other threads write. The count
/// of a thread stays when the thread ends.
#[derive(Debug, Default)]
pub(crate) struct ThreadCounter {
    by_thread: PerThread<Count>,
    /// Number of events on threads that were already ending.
    others: AtomicU64,
}

/// Count of one thread, in a cache line of its own. If the id of an ended thread is given to a new one, the new one
/// continues the count.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Count(AtomicU64);

impl ThreadCounter {
    #[inline]
    pub(crate) fn increment(&self) {
        let Some(Count(own)) = self.by_thread.get() else {
            self.others.fetch_add(1, Relaxed);
            return;
        };
        // Only this thread writes the count, so no atomic addition is needed.
        own.store(own.load(Relaxed) + 1, Relaxed);
    }

    /// Returns the sum of all threads' counts.
    pub(crate) fn total(&self) -> u64 {
        let by_thread: u64 = self.by_thread.iter().map(|Count(count)| count.load(Relaxed)).sum();
        by_thread + self.others.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn thread_counter_keeps_counts_of_ended_threads() {
        let counter = ThreadCounter::default();
        for _ in 0..8 {
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| (0..1_000).for_each(|_| counter.increment()));
                }
            });
        }
        assert_eq!(counter.total(), 32_000);
    }
}
