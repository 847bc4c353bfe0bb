use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use super::files::LedgerFiles;

/// Thread that flushes periodically. When this value is dropped, the thread flushes a last time and ends.
pub(super) struct FlushThread {
    /// Channel whose sender is dropped before the thread is joined, because the drop ends the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FlushThread {
    pub(super) fn start(files: Arc<LedgerFiles>, every: Duration) -> io::Result<Self> {
        let (end, ended) = mpsc::channel::<()>();
        let work = move || {
            let mut is_failing = false;
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                is_failing = flush(&files, is_failing);
            }
            flush(&files, false);
        };
        let thread = Builder::new().name("llm-ledger-file".into()).spawn(work)?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

/// Writes the files. Returns `true` on failure. Only the first of several failures in a row is logged.
fn flush(files: &LedgerFiles, was_failing: bool) -> bool {
    match files.flush() {
        Ok(()) => false,
        Err(error) => {
            if !was_failing {
                tracing::error!(%error, "the totals of the ledger are not written, trying again");
            }
            true
        }
    }
}

impl Drop for FlushThread {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // The thread panics only if the ledger's own code panics, and the panic hook has reported such a panic.
            let _ = thread.join();
        }
    }
}
