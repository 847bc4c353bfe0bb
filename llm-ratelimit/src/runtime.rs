//! Check for the timers of the current tokio runtime.

use std::{
    future::Future,
    panic::catch_unwind,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake},
    thread::{self, Thread},
    time::Duration,
};

use tokio::{runtime::Handle, time::sleep};

/// Error of a call that is made outside of a tokio runtime with timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no tokio runtime with timers: run this inside of one that is built with enable_all or enable_time")]
pub struct NoRuntime;

/// Returns an error if the current runtime has no timers, or if there is no runtime.
pub(crate) fn timers() -> Result<(), NoRuntime> {
    // Tokio has no function that reports whether a runtime has timers. Without timers, creating a `sleep` panics.
    let has_timers = || catch_unwind(|| drop(sleep(Duration::ZERO))).is_ok();
    if Handle::try_current().is_ok() && has_timers() { Ok(()) } else { Err(NoRuntime) }
}

/// Waits for a future, on a thread that may block.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
