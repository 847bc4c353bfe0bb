//! A future that tells how it ended.

use super::counts::ProbeHandle;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// The future of a [`Probe`](super::Probe).
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ProbeFuture<F> {
        #[pin]
        inner: F,
        flight: Flight,
    }
}

/// A call in flight; dropped unlanded, it counts as a dropped future.
#[derive(Debug)]
struct Flight {
    handle: ProbeHandle,
    landed: bool,
}

impl<F> ProbeFuture<F> {
    pub(super) fn new(inner: F, handle: ProbeHandle) -> Self {
        handle.see(|seen| {
            seen.in_flight += 1;
            seen.most_in_flight = seen.most_in_flight.max(seen.in_flight);
        });
        Self { inner, flight: Flight { handle, landed: false } }
    }
}

impl<F, T, E> Future for ProbeFuture<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        this.flight.land(result.is_ok());
        Poll::Ready(result)
    }
}

impl Flight {
    fn land(&mut self, ok: bool) {
        self.landed = true;
        self.handle.see(|seen| {
            seen.in_flight -= 1;
            seen.succeeded += u64::from(ok);
            seen.failed += u64::from(!ok);
        });
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.landed {
            self.handle.see(|seen| {
                seen.in_flight -= 1;
                seen.dropped_futures += 1;
            });
        }
    }
}
