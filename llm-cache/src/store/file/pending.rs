//! Entries that wait to be written to the file.
//!
//! Callers add entries to the queue and never wait for the disk. The writer takes all pending entries at once. An entry
//! can be read here until its batch is written. Entries are numbered, so that [`drained`](Pending::drained) can wait
//! for all entries up to a number.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use foldhash::quality::RandomState;

use crate::{Key, StoreError, key::BorrowedKey, policy::Timestamp, store::Entry};

/// Pending writes, which can be read until they are written.
#[derive(Default)]
pub(super) struct Pending {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Entries by key, with numbers in the order in which they were added.
    entries: HashMap<Key, (u64, Arc<Entry>), RandomState>,
    next: u64,
    bytes: u64,
    /// Entries to remove from the file before the pending entries are written.
    evictions: Vec<Eviction>,
    closed: bool,
    /// Number below which the writer has taken all entries.
    taken: u64,
    /// Number below which all entries have been written or dropped.
    done: u64,
    /// Reason why the latest batch was not written; `None` if the batch was written.
    failed: Option<StoreError>,
}

/// Entry to remove: its key, and the start of the call whose response it holds.
type Eviction = (Key, Timestamp);

/// One batch of the writer.
#[derive(Default)]
pub(super) struct Work {
    pub(super) evictions: Vec<Eviction>,
    pub(super) entries: Vec<(Key, Arc<Entry>)>,
}

/// Reason why the writer wakes up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wake {
    Work,
    Idle,
    Closed,
}

impl Pending {
    /// Largest total size of pending entries, in bytes.
    const MOST: u64 = 16 << 20;
    /// Largest number of pending removals. Further entries to be removed stay in the file until they expire or are
    /// evicted.
    const MAX_EVICTIONS: usize = 1024;

    /// Adds an entry, unless a pending entry has the same key and its call began later. Returns `false` if too many
    /// bytes are pending, or if the store is closed.
    pub(super) fn put(&self, key: Key, entry: Arc<Entry>) -> bool {
        let replaced = {
            let mut state = self.lock();
            if state
                .entries
                .get(&key)
                .is_some_and(|(_, known)| known.provenance.started_at > entry.provenance.started_at)
            {
                return true;
            }
            let bytes = u64::from(entry.bytes());
            // A single entry that is larger than the bound is accepted if nothing else is pending.
            if state.closed || (state.bytes > 0 && state.bytes + bytes > Self::MOST) {
                return false;
            }
            state.bytes += bytes;
            let number = state.next;
            state.next += 1;
            let replaced = state.entries.insert(key, (number, entry));
            state.bytes -= replaced.as_ref().map_or(0, |(_, entry)| u64::from(entry.bytes()));
            replaced
        };
        drop(replaced);
        self.changed.notify_all();
        true
    }

    pub(super) fn get(&self, key: BorrowedKey<'_>) -> Option<Arc<Entry>> {
        if self.lock().entries.is_empty() {
            return None;
        }
        let key = key.to_key();
        self.lock().entries.get(&key).map(|(_, entry)| Arc::clone(entry))
    }

    pub(super) fn remove(&self, key: &Key) {
        let removed = self.lock().remove(key);
        drop(removed);
    }

    pub(super) fn remove_if(&self, gone: impl Fn(&Key, &Entry) -> bool) {
        let known = |(key, (_, entry)): (&Key, &(u64, Arc<Entry>))| (key.clone(), Arc::clone(entry));
        let known: Vec<_> = self.lock().entries.iter().map(known).collect();
        known.iter().filter(|(key, entry)| gone(key, entry)).for_each(|(key, _)| self.remove(key));
    }

    /// Removes an entry, from the pending ones at once and from the file soon, unless an entry whose call began later
    /// has replaced it.
    pub(super) fn evict_unless_newer(&self, key: Key, judged: Timestamp) {
        let removed = {
            let mut state = self.lock();
            let is_newer = state.entries.get(&key).is_some_and(|(_, entry)| entry.provenance.started_at > judged);
            let removed = if is_newer { None } else { state.remove(&key) };
            if state.evictions.len() < Self::MAX_EVICTIONS {
                state.next += 1;
                state.evictions.push((key, judged));
            }
            removed
        };
        drop(removed);
        self.changed.notify_all();
    }

    /// Returns the number of pending entries and their total size in bytes.
    pub(super) fn size(&self) -> (u64, u64) {
        let state = self.lock();
        (state.entries.len() as u64, state.bytes)
    }

    /// Waits until there is work, but no longer than `idle`.
    pub(super) fn wait(&self, idle: Duration) -> Wake {
        let nothing = |state: &mut State| !state.has_work() && !state.closed;
        let state = self.changed.wait_timeout_while(self.lock(), idle, nothing);
        let (state, _) = state.unwrap_or_else(PoisonError::into_inner);
        match (state.has_work(), state.closed) {
            (true, _) => Wake::Work,
            (false, true) => Wake::Closed,
            (false, false) => Wake::Idle,
        }
    }

    /// Takes all pending work, in the order in which it was added. The entries stay readable until they are
    /// [done](Self::done).
    pub(super) fn take(&self) -> Work {
        let mut state = self.lock();
        state.taken = state.next;
        let entry = |(key, (number, entry)): (&Key, &(u64, Arc<Entry>))| (*number, key.clone(), Arc::clone(entry));
        let mut entries: Vec<_> = state.entries.iter().map(entry).collect();
        let evictions = std::mem::take(&mut state.evictions);
        drop(state);
        entries.sort_by_key(|(number, ..)| *number);
        Work { evictions, entries: entries.into_iter().map(|(_, key, entry)| (key, entry)).collect() }
    }

    /// Removes the entries of a batch that was written or failed, and wakes callers that wait for it.
    pub(super) fn done(&self, work: &Work, failed: Option<StoreError>) {
        let mut state = self.lock();
        state.done = state.taken;
        // A later success clears the failure. The entries of a failed batch are counted as dropped writes.
        state.failed = failed;
        for (key, entry) in &work.entries {
            // A newer entry may have been added meanwhile. `work` still holds this entry, so no entry is freed while
            // the lock is held.
            if state.entries.get(key).is_some_and(|(_, now)| Arc::ptr_eq(now, entry)) {
                drop(state.remove(key));
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Returns the number that the next added entry will get.
    pub(super) fn next(&self) -> u64 {
        self.lock().next
    }

    /// Waits until all entries with numbers below `next` are written or dropped, but no longer than `max_wait`.
    ///
    /// # Errors
    ///
    /// The failure of the latest batch, which is reported once, or an error if `max_wait` has passed.
    pub(super) fn drained(&self, next: u64, max_wait: Duration) -> Result<(), StoreError> {
        let busy = |state: &mut State| state.done < next && (state.has_work() || state.done < state.taken);
        let state = self.changed.wait_timeout_while(self.lock(), max_wait, busy);
        let (mut state, timeout) = state.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Err(StoreError::new("file", "what was stored has not been written in time"));
        }
        state.failed.take().map_or(Ok(()), Err)
    }

    /// Refuses further entries. Pending entries are still written.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_work(&self) -> bool {
        !self.entries.is_empty() || !self.evictions.is_empty()
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<Entry>> {
        let (_, removed) = self.entries.remove(key)?;
        self.bytes -= u64::from(removed.bytes());
        Some(removed)
    }
}
