//! Join gate of a running response. It bounds the memory in which the response is kept for later waiters.

use std::{
    future::{Ready, ready},
    ops::ControlFlow,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use llm_core::layer::{Live, StreamCut};

use crate::path::single_flight::Guard;

/// Gate that keeps a running response open to new waiters. It closes when the response has ended, or has grown too
/// large to be kept for later waiters. Later callers then send calls of their own.
pub(crate) struct JoinGate<C> {
    guard: Mutex<Option<Guard>>,
    live: OnceLock<Weak<dyn Live<C>>>,
}

/// Memory of each piece of a running response in addition to its text, in bytes.
const PIECE_BYTES: u64 = 128;

impl<C: 'static> JoinGate<C> {
    pub(crate) fn new(guard: Option<Guard>) -> Self {
        Self { guard: Mutex::new(guard), live: OnceLock::new() }
    }

    /// Sets the response. If it grows too large, it is closed to further readers together with the gate, so that pieces
    /// which every reader has read can be dropped.
    pub(crate) fn guards(&self, live: &Arc<dyn Live<C>>) {
        // A response is shared only once, so it was not set before.
        let _ = self.live.set(Arc::downgrade(live));
    }

    /// Returns a watcher of the response's pieces. It closes the gate when they take more than `most` bytes.
    pub(crate) fn watcher(
        this: &Arc<Self>,
        most: u64,
    ) -> impl FnMut(u64) -> Ready<ControlFlow<StreamCut>> + Send + 'static {
        let mut gate = Some(Arc::clone(this));
        let mut pieces = 0;
        move |text| {
            pieces += 1;
            if text.saturating_add(pieces * PIECE_BYTES) > most
                && let Some(gate) = gate.take()
            {
                gate.close();
                if let Some(live) = gate.live.get().and_then(Weak::upgrade) {
                    live.close();
                }
            }
            ready(ControlFlow::Continue(()))
        }
    }

    /// Closes the response to new waiters, by removing its item from the table of running calls.
    pub(crate) fn close(&self) {
        let guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(guard);
    }
}
