//! Watchers of a running stream.

use std::{
    future::Future,
    ops::ControlFlow,
    task::{Context, Poll, ready},
};

use crate::output::StreamCut;

/// Functions that decide, one after the other, if a stream continues.
#[derive(Default)]
pub(super) struct Watchers {
    all: Vec<Watcher>,
    /// Index of the watcher whose decision is awaited.
    polled: usize,
}

type Watcher = Box<dyn FnMut(u64, &mut Context<'_>) -> Poll<ControlFlow<StreamCut>> + Send>;

impl Watchers {
    pub(super) fn add<D>(&mut self, mut f: impl FnMut(u64) -> D + Send + 'static)
    where
        D: Future<Output = ControlFlow<StreamCut>> + Send + 'static,
    {
        // One allocation for all decisions of this watcher, so that an event needs none.
        let mut decision = Box::pin(None);
        self.all.push(Box::new(move |bytes, cx| {
            if decision.is_none() {
                decision.set(Some(f(bytes)));
            }
            let running = decision.as_mut().as_pin_mut().expect("it was set above");
            let decided = ready!(running.poll(cx));
            decision.set(None);
            Poll::Ready(decided)
        }));
    }

    /// Asks all watchers about the number of bytes of output so far. Returns the first decision to cut the stream off;
    /// `None` if it continues. After `Pending`, poll it again with the same number.
    pub(super) fn poll_decide(&mut self, bytes: u64, cx: &mut Context<'_>) -> Poll<Option<StreamCut>> {
        let mut cut = None;
        while let (None, Some(watcher)) = (&cut, self.all.get_mut(self.polled)) {
            cut = ready!(watcher(bytes, cx)).break_value();
            self.polled += 1;
        }
        self.polled = 0;
        Poll::Ready(cut)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
    }
}
