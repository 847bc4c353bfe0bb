//! Values of which each thread has its own.

use std::cell::Cell;

use thread_local::ThreadLocal;

/// Value of which each thread has its own, created when the thread first reads it.
#[derive(Debug, Default)]
pub(crate) struct PerThread<T: Send>(ThreadLocal<T>);

/// Registers the end of its thread when it is dropped.
struct EndOfThread;

thread_local! {
    /// True once the thread is ending. The variable has no destructor, so it can be read until the thread has ended.
    static IS_ENDING: Cell<bool> = const { Cell::new(false) };
    static END: EndOfThread = const { EndOfThread };
}

impl<T: Send + Default> PerThread<T> {
    /// Returns the value of this thread. Returns `None` if the thread is ending, because the id by which values are
    /// found may then have been freed. Destructors of thread-local variables may still make decisions at that time.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.get().or_else(|| self.create())
    }

    #[cold]
    fn create(&self) -> Option<&T> {
        if IS_ENDING.get() {
            return None;
        }
        let value = self.0.get_or_default();
        // `END` is created after the thread's id, and is therefore dropped before it.
        END.with(|_| ());
        Some(value)
    }

    /// Returns the values of all threads, including ended ones.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T>
    where
        T: Sync,
    {
        self.0.iter()
    }
}

impl Drop for EndOfThread {
    fn drop(&mut self) {
        IS_ENDING.set(true);
    }
}
