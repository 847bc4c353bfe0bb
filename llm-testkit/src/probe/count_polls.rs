//! Future or stream that counts its polls.

use futures_core::Stream;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

pin_project! {
    /// Future or stream that counts its polls in a counter, which several futures or streams may share.
    ///
    /// ```
    /// use llm_testkit::probe::CountPolls;
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let polls = Arc::new(AtomicU64::new(0));
    /// CountPolls::new(tokio::task::yield_now(), polls.clone()).await;
    /// assert_eq!(polls.load(Ordering::Relaxed), 2);
    /// # }
    /// ```
    #[derive(Debug, Clone)]
    #[must_use = "futures and streams do nothing unless polled"]
    pub struct CountPolls<F> {
        #[pin]
        inner: F,
        polls: Arc<AtomicU64>,
    }
}

impl<F> CountPolls<F> {
    /// Wraps `inner`. Each of its polls adds one to `polls`.
    pub fn new(inner: F, polls: Arc<AtomicU64>) -> Self {
        Self { inner, polls }
    }
}

impl<F: Future> Future for CountPolls<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.polls.fetch_add(1, Ordering::Relaxed);
        this.inner.poll(cx)
    }
}

impl<S: Stream> Stream for CountPolls<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        this.polls.fetch_add(1, Ordering::Relaxed);
        this.inner.poll_next(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}
