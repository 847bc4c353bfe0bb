//! Tests with readers on several threads, a source that another thread wakes, and readers that are dropped at any time.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use futures_core::Stream;
use futures_util::{StreamExt, future::join_all};
use llm_core::layer::{Broadcast, Reader};

const UNBROKEN: &str = "nobody panics while it is locked";

/// Channel from a thread to a stream.
#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    items: Vec<u32>,
    closed: bool,
    waker: Option<Waker>,
}

impl Pipe {
    fn send(&self, item: Option<u32>) {
        let waker = {
            let mut pipe = self.0.lock().expect(UNBROKEN);
            match item {
                Some(item) => pipe.items.push(item),
                None => pipe.closed = true,
            }
            pipe.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake_by_ref();
            waker.wake();
        }
    }
}

struct Outlet(Pipe, usize);

impl Stream for Outlet {
    type Item = u32;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        let pipe = self.0.clone();
        let mut pipe = pipe.0.lock().expect(UNBROKEN);
        if let Some(item) = pipe.items.get(self.1) {
            self.1 += 1;
            return Poll::Ready(Some(*item));
        }
        if pipe.closed {
            return Poll::Ready(None);
        }
        pipe.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Runs `work` on a runtime of its own. The time-out only turns a hang into a failure.
fn on_its_own<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), work).await }).expect("readers hang")
}

/// Reads to the end of the stream, or drops the reader after some polls.
async fn read(mut reader: Reader<Outlet>, polls: u64) -> Option<Vec<u32>> {
    let mut seen = Vec::new();
    let mut left = polls;
    let ended = std::future::poll_fn(|cx| {
        loop {
            if left == 0 {
                return Poll::Ready(false);
            }
            left -= 1;
            match reader.poll_next_unpin(cx) {
                Poll::Ready(Some(item)) => seen.push(item),
                Poll::Ready(None) => return Poll::Ready(true),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    ended.then_some(seen)
}

#[test]
fn broadcast_on_real_threads_never_hangs() {
    const ROUNDS: u32 = 200;
    const ITEMS: u32 = 20;
    let complete = AtomicU64::new(0);
    for round in 0..ROUNDS {
        let pipe = Pipe::default();
        let shared = Broadcast::new(Outlet(pipe.clone(), 0));
        thread::scope(|scope| {
            for thread in 0..3 {
                let readers: Vec<_> = (0..4).map(|_| shared.subscribe().unwrap()).collect();
                let complete = &complete;
                scope.spawn(move || {
                    let reads = readers.into_iter().zip(0..).map(|(reader, n)| {
                        // Some readers leave at once or early, at a different time on each thread.
                        let leaves = (round * 7 + thread * 5 + n * 3) % 11;
                        read(reader, if leaves < 5 { u64::from(leaves) } else { u64::MAX })
                    });
                    for seen in on_its_own(join_all(reads)).into_iter().flatten() {
                        assert!(seen.into_iter().eq(0..ITEMS));
                        complete.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            scope.spawn(move || (0..ITEMS).map(Some).chain([None]).for_each(|item| pipe.send(item)));
        });
    }
    assert!(complete.into_inner() > u64::from(ROUNDS), "most rounds have readers who stay");
}
