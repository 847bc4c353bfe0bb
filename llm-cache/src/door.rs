use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use llm_core::layer::{Live, StreamCut};

use crate::flight::Guard;

/// Where those come in who join a running answer. It is shut when the answer has ended, or has grown too large to be held
/// for others: whoever asks then makes a call of his own.
pub(crate) struct Door<C> {
    guard: Mutex<Option<Guard>>,
    live: OnceLock<Weak<dyn Live<C>>>,
}

/// What each piece of a running answer takes beside its text, in bytes.
const PIECE_BYTES: u64 = 128;

impl<C: 'static> Door<C> {
    pub(crate) fn new(guard: Guard) -> Self {
        Self { guard: Mutex::new(Some(guard)), live: OnceLock::new() }
    }

    /// The answer behind it.
    pub(crate) fn leads_to(&self, live: &Arc<dyn Live<C>>) {
        // An answer is shared once.
        let _ = self.live.set(Arc::downgrade(live));
    }

    /// Shuts the door of an answer that takes more than `most` bytes.
    pub(crate) fn watcher(this: &Arc<Self>, most: u64) -> impl FnMut(u64) -> ControlFlow<StreamCut> + Send + 'static {
        let mut door = Some(Arc::clone(this));
        let mut pieces = 0;
        move |text| {
            pieces += 1;
            if text.saturating_add(pieces * PIECE_BYTES) > most
                && let Some(door) = door.take()
            {
                door.shut();
                if let Some(live) = door.live.get().and_then(Weak::upgrade) {
                    live.close();
                }
            }
            ControlFlow::Continue(())
        }
    }

    /// Has whoever asks from now on make his own call.
    pub(crate) fn shut(&self) {
        let guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(guard);
    }
}
