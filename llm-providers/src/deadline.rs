//! Deadline of a call: its own, or that of the callers who share it.

use std::{
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Instant as StdInstant,
};

use llm_core::{Call, Charge, Error, ErrorKind, layer::CallDeadline};
use tokio::time::{Instant, sleep_until};

use crate::runtime;

/// Time after which no caller wants the response, if there is such a time. It changes when callers join or drop a
/// shared call.
#[derive(Clone, Debug)]
pub(crate) struct Deadline(CallDeadline);

impl Deadline {
    pub(crate) fn of<T>(call: &Call<T>) -> Self {
        Self(CallDeadline::of(call))
    }

    /// Returns `true` if the deadline is at most the time `wait` from now.
    pub(crate) fn is_within(&self, wait: std::time::Duration) -> bool {
        let then = Instant::now().into_std().checked_add(wait);
        self.0.latest().is_some_and(|at| then.is_none_or(|then| at <= then))
    }

    /// Returns an error for a call whose deadline passed before it was sent, or whose deadline cannot be awaited
    /// because there is no runtime.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.0.latest() {
            Some(at) if at <= Instant::now().into_std() => Err(passed().with_charge(Charge::None)),
            Some(_) => runtime::require("a call with a deadline"),
            None => Ok(()),
        }
    }

    /// Waits for the result of a call that was sent, until the deadline at the latest.
    pub(crate) async fn bound<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        if self.0.is_unbounded() {
            return Ok(future.await);
        }
        let (mut future, mut passing) = (pin!(future), pin!(self.0.passed(timer)));
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => passing.as_mut().poll(cx).map(|()| Err(passed())),
        })
        .await
    }

    /// Creates the future that ends a stream at the deadline.
    pub(crate) fn alarm(&self) -> Alarm {
        let deadline = self.0.clone();
        Alarm((!deadline.is_unbounded()).then(|| -> Passing { Box::pin(async move { deadline.passed(timer).await }) }))
    }
}

/// Future that is ready at the deadline.
pub(crate) struct Alarm(Option<Passing>);

type Passing = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Alarm {
    /// Polls for the deadline. Returns the error that ends the stream when it has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        match &mut self.0 {
            Some(passing) => passing.as_mut().poll(cx).map(|()| passed()),
            None => Poll::Pending,
        }
    }
}

/// Waits until a time, if the runtime has timers. A shared call may be polled outside of a runtime although a caller
/// with a deadline is inside one.
async fn timer(at: StdInstant) {
    if runtime::is_running() {
        sleep_until(at.into()).await;
    } else {
        pending().await
    }
}

fn passed() -> Error {
    let message = "the call's deadline passed before its response was there";
    Error::new(ErrorKind::DeadlineExceeded, message).with_charge(Charge::Unknown)
}
