//! The call's own deadline.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use llm_core::{Call, Charge, Error, ErrorKind};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use crate::runtime;

/// Time after which the response is no longer wanted, if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) fn of<T>(call: &Call<T>) -> Self {
        Self(call.deadline.map(Instant::from_std))
    }

    /// Refuses a call whose deadline has passed before it was sent, or cannot be kept.
    pub(crate) fn check(self) -> Result<(), Error> {
        match self.0 {
            Some(at) if at <= Instant::now() => Err(passed().with_charge(Charge::None)),
            Some(_) => runtime::require("a call with a deadline"),
            None => Ok(()),
        }
    }

    /// Waits for something that follows from a call that was sent.
    pub(crate) async fn bound<F: Future>(self, future: F) -> Result<F::Output, Error> {
        match self.0 {
            Some(at) => timeout_at(at, future).await.map_err(|_| passed()),
            None => Ok(future.await),
        }
    }

    /// For a stream.
    pub(crate) fn alarm(self) -> Alarm {
        Alarm(self.0.map(|at| Box::pin(sleep_until(at))))
    }
}

/// Goes off at the deadline.
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready when the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().poll(cx).map(|()| passed()),
            None => Poll::Pending,
        }
    }
}

fn passed() -> Error {
    let message = "the call's deadline passed before its answer was there";
    Error::new(ErrorKind::DeadlineExceeded, message).with_charge(Charge::Unknown)
}
