//! Service that records its polls, calls and futures.

use super::counts::ProbeHandle;
use super::future::ProbeFuture;
use std::task::{Context, Poll, ready};
use tower_service::Service;

/// Service that wraps the innermost service of a stack and records the use by the layers above it.
///
/// Readiness belongs to one instance and one call: a clone has none, and a call consumes it. The probe counts a call
/// without readiness, or panics if it is [`panicking`](Self::panicking). All clones share the counters.
///
/// ```
/// use llm_testkit::probe::Probe;
/// use tower::{ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (probe, handle) = Probe::new(service_fn(|x: u32| async move { Ok::<_, ()>(x + 1) }));
/// assert_eq!(probe.oneshot(1).await, Ok(2));
/// handle.assert_ready_contract();
/// handle.assert_quiescent();
/// assert_eq!(handle.snapshot().succeeded, 1);
/// # }
/// ```
#[derive(Debug)]
pub struct Probe<S> {
    inner: S,
    ready: bool,
    panics: bool,
    handle: ProbeHandle,
}

impl<S> Probe<S> {
    /// Wraps `inner`, and returns the probe and its handle.
    pub fn new(inner: S) -> (Self, ProbeHandle) {
        let handle = ProbeHandle::default();
        (Self { inner, ready: false, panics: false, handle: handle.clone() }, handle)
    }

    /// Makes a call without readiness panic, so that the test's backtrace shows the caller.
    #[must_use]
    pub fn panicking(mut self) -> Self {
        self.panics = true;
        self
    }
}

/// Written by hand, because a derived `Clone` would copy readiness.
impl<S: Clone> Clone for Probe<S> {
    fn clone(&self) -> Self {
        self.handle.see(|seen| seen.clones += 1);
        Self { inner: self.inner.clone(), ready: false, panics: self.panics, handle: self.handle.clone() }
    }
}

impl<S> Drop for Probe<S> {
    fn drop(&mut self) {
        self.handle.see(|seen| seen.dropped_services += 1);
    }
}

impl<S, R> Service<R> for Probe<S>
where
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ProbeFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.handle.see(|seen| seen.ready_polls += 1);
        ready!(self.handle.poll_gate(cx));
        ready!(self.inner.poll_ready(cx))?;
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> ProbeFuture<S::Future> {
        let ready = std::mem::replace(&mut self.ready, false);
        self.handle.see(|seen| {
            seen.calls += 1;
            seen.unready_calls += u64::from(!ready);
        });
        assert!(ready || !self.panics, "called an instance that is not ready");
        ProbeFuture::new(self.inner.call(request), self.handle.clone())
    }
}
