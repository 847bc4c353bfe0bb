//! Timers of the current tokio runtime.

use std::{panic::catch_unwind, time::Duration};

use tokio::{runtime::Handle, time::sleep};

/// There is no tokio runtime with timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no tokio runtime with timers: run this inside of one that is built with enable_all or enable_time")]
pub struct NoRuntime;

/// Checks that timers can be made here.
pub(crate) fn timers() -> Result<(), NoRuntime> {
    // A runtime does not tell whether it has timers. Without them, making one panics.
    let has_timers = || catch_unwind(|| drop(sleep(Duration::ZERO))).is_ok();
    if Handle::try_current().is_ok() && has_timers() { Ok(()) } else { Err(NoRuntime) }
}
