//! Future that records its outcome.

use super::counts::ProbeHandle;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// Future of a [`Probe`](super::Probe).
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ProbeFuture<F> {
        #[pin]
        inner: F,
        guard: InFlight,
    }
}

/// Guard of a call in flight. If it is dropped before the call has ended, the future counts as dropped.
#[derive(Debug)]
struct InFlight {
    handle: ProbeHandle,
    ended: bool,
}

impl<F> ProbeFuture<F> {
    pub(super) fn new(inner: F, handle: ProbeHandle) -> Self {
        handle.see(|seen| {
            seen.in_flight += 1;
            seen.most_in_flight = seen.most_in_flight.max(seen.in_flight);
        });
        Self { inner, guard: InFlight { handle, ended: false } }
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
        this.guard.end(result.is_ok());
        Poll::Ready(result)
    }
}

impl InFlight {
    fn end(&mut self, ok: bool) {
        self.ended = true;
        self.handle.see(|seen| {
            seen.in_flight -= 1;
            seen.succeeded += u64::from(ok);
            seen.failed += u64::from(!ok);
        });
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.ended {
            self.handle.see(|seen| {
                seen.in_flight -= 1;
                seen.dropped_futures += 1;
            });
        }
    }
}
