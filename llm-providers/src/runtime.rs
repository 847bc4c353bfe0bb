//! Check for a tokio runtime, because timers and sockets panic without one.

use llm_core::{Error, ErrorKind};
use tokio::runtime::Handle;

/// Returns `true` within a tokio runtime.
pub(crate) fn is_running() -> bool {
    Handle::try_current().is_ok()
}

/// Returns an error outside of a tokio runtime, in which case the call would panic.
pub(crate) fn require(what: &str) -> Result<(), Error> {
    if is_running() {
        return Ok(());
    }
    let message = format!("{what} needs a tokio runtime: call it within one, such as that of #[tokio::main]");
    Err(Error::new(ErrorKind::Other, message))
}
