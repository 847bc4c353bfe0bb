//! Timer for the times at which the frames of a response are due.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Timer that starts at the arrival of a call. It wakes its task when the polled time has passed.
#[derive(Debug)]
pub(super) struct Timer {
    start: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    pub(super) fn start() -> Self {
        Self { start: Instant::now(), sleep: None }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, at: Duration) -> Poll<()> {
        let due = self.start + at;
        if due <= Instant::now() {
            return Poll::Ready(());
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() != due {
            sleep.as_mut().reset(due);
        }
        sleep.as_mut().poll(cx)
    }
}
