//! Store of entries in a file.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use llm_core::Clock;
use tokio::{runtime::Handle, sync::Semaphore, time::timeout};

use super::{
    disk::Disk,
    invalidations::Invalidations,
    pending::Pending,
    shared::{Counts, Shared, close},
    writer,
};
use crate::{
    Key, StoreError, Tag,
    key::BorrowedKey,
    policy::Timestamp,
    store::{AtRest, Cursor, Entry, Name, Page, Record, Store, StoreFuture, StoreStats},
};

/// Settings of a file store.
pub(crate) struct FileSettings {
    pub(crate) path: PathBuf,
    pub(crate) max_bytes: u64,
    pub(crate) codec: AtRest,
    pub(crate) clock: Arc<dyn Clock>,
    /// Time after its expiry for which an entry can still be served as stale.
    pub(crate) grace: Duration,
}

/// Store of entries in a file. Dropping it writes pending entries and closes the file, which may take as long as one
/// commit.
pub(crate) struct FileStore {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Largest number of threads that read at the same time.
const READERS: usize = 16;
/// Largest number of threads that change the file, or wait for a commit, at the same time.
const CHANGERS: usize = 16;
/// Longest time that a caller waits until its read of the file is done.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time that a caller waits until its change of the file is done.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

impl FileStore {
    /// Opens a file, and starts the thread that writes to it.
    pub(crate) fn open(settings: FileSettings) -> Result<Self, StoreError> {
        let FileSettings { path, max_bytes, codec, clock, grace } = settings;
        let (disk, totals, invalidated_tags) = Disk::open(&path)?;
        let counts = Counts::default();
        counts.entries.store(totals.entries, Ordering::Relaxed);
        counts.bytes.store(totals.bytes, Ordering::Relaxed);
        let shared = Arc::new(Shared {
            path,
            broken: AtomicBool::new(false),
            disk: RwLock::new(Some(disk)),
            pending: Pending::default(),
            latest: totals.last,
            invalidations: RwLock::new(Invalidations::new(&totals, invalidated_tags)),
            codec,
            max_bytes,
            clock,
            grace,
            readers: Arc::new(Semaphore::new(READERS)),
            changers: Arc::new(Semaphore::new(CHANGERS)),
            changing: Mutex::default(),
            counts,
        });
        let writer = Self::start(&shared)?;
        Ok(Self { shared, writer: Mutex::new(Some(writer)) })
    }

    /// Replaces the disk by another one. The old disk is closed first.
    #[cfg(test)]
    pub(super) fn replace(&self, open: impl FnOnce() -> Disk) {
        let mut disk = self.shared.disk.write().unwrap_or_else(PoisonError::into_inner);
        close(disk.take());
        *disk = Some(open());
    }

    fn start(shared: &Arc<Shared>) -> Result<JoinHandle<()>, StoreError> {
        let writing = Arc::clone(shared);
        let writer = thread::Builder::new().name("llm-cache-file".to_owned()).spawn(move || writer::run(&writing));
        writer.map_err(|error| {
            StoreError::new("file", format!("{}: no thread to write it with: {error}", shared.path.display()))
        })
    }

    /// Changes the file on a thread for blocking work.
    async fn changed<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.apart(&self.shared.changers, WRITE_TIMEOUT, work).await
    }

    /// Runs work on a thread for blocking work, when a permit is free. Outside a tokio runtime, runs it on the caller's
    /// thread.
    async fn apart<R: Send + 'static>(
        &self,
        room: &Arc<Semaphore>,
        max_wait: Duration,
        work: impl FnOnce(&Shared) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let (shared, room) = (Arc::clone(&self.shared), Arc::clone(room));
        let Ok(runtime) = Handle::try_current() else { return work(&shared) };
        let done = async move {
            let permit = room.acquire_owned().await;
            runtime
                .spawn_blocking(move || {
                    let _permit = permit;
                    work(&shared)
                })
                .await
        };
        match timeout(max_wait, done).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) if error.is_cancelled() => {
                Err(StoreError::new("file", "the tokio runtime is shutting down"))
            }
            Ok(Err(_)) => Err(StoreError::new("file", "reading panicked: the file may be damaged")),
            Err(_) => Err(StoreError::new("file", "the file did not answer in time")),
        }
    }
}

impl Store for FileStore {
    fn peek(&self, key: BorrowedKey<'_>) -> Option<Arc<Entry>> {
        self.shared.pending.get(key)
    }

    fn has_remote_tier(&self) -> bool {
        true
    }

    fn fetch<'a>(&'a self, keys: &'a [Key]) -> StoreFuture<'a, Vec<Option<Arc<Entry>>>> {
        let keys = keys.to_vec();
        Box::pin(self.apart(&self.shared.readers, READ_TIMEOUT, move |shared| shared.fetch(&keys)))
    }

    /// Adds an entry to the pending ones. Until it is written, it is served from memory.
    fn put(&self, key: Key, entry: Arc<Entry>) -> bool {
        if !self.shared.codec.can_store(&key.partition()) {
            return false;
        }
        let taken = self.shared.pending.put(key, Arc::new(entry.copy("file", None)));
        if !taken {
            self.shared.counts.dropped_writes.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    fn evict_unless_newer(&self, key: BorrowedKey<'_>, entry: &Entry) {
        self.shared.pending.evict_unless_newer(key.to_key(), entry.provenance.started_at);
    }

    fn remove<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, ()> {
        let key = key.clone();
        Box::pin(self.changed(move |shared| {
            shared.pending.remove(&key);
            let name = shared.codec.name(&key);
            shared.change(|batch| batch.remove(&name)).map(drop)
        }))
    }

    fn invalidate(&self, tag: Option<&Tag>, at: Timestamp) -> StoreFuture<'_, ()> {
        let tag = tag.map(|tag| self.shared.codec.tag(tag));
        Box::pin(self.changed(move |shared| shared.invalidate(tag, at)))
    }

    fn latest(&self) -> Timestamp {
        self.shared.latest
    }

    fn forget<'a>(&'a self, tenant: &'a str) -> StoreFuture<'a, ()> {
        let tenant = tenant.to_owned();
        Box::pin(self.changed(move |shared| shared.forget(&tenant)))
    }

    fn clear(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.changed(|shared| {
            shared.pending.remove_if(|_, _| true);
            shared.change(|batch| batch.clear())
        }))
    }

    fn stats(&self) -> StoreStats {
        let Counts { entries, bytes, corrupt, dropped_writes, failed, evicted: _ } = &self.shared.counts;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (pending, pending_bytes) = self.shared.pending.size();
        StoreStats {
            entries: load(entries) + pending,
            bytes: load(bytes) + pending_bytes,
            corrupt: load(corrupt),
            dropped_writes: load(dropped_writes),
            failed: load(failed),
            ..StoreStats::default()
        }
    }

    fn evictions(&self) -> u64 {
        self.shared.counts.evicted.load(Ordering::Relaxed)
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        let next = self.shared.pending.next();
        Box::pin(self.changed(move |shared| shared.pending.drained(next, WRITE_TIMEOUT)))
    }

    fn scan(&self, after: Option<Cursor>, most: usize) -> StoreFuture<'_, Page> {
        Box::pin(self.changed(move |shared| shared.page(after.as_ref(), most)))
    }

    fn write_records(&self, records: Vec<Record>) -> StoreFuture<'_, u64> {
        Box::pin(self.changed(move |shared| shared.write_records(&records)))
    }

    fn remove_named(&self, names: Vec<Name>) -> StoreFuture<'_, u64> {
        Box::pin(self.changed(move |shared| {
            shared.change(|batch| names.iter().try_fold(0, |gone, name| Ok(gone + u64::from(batch.remove(name)?))))
        }))
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        self.shared.pending.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The writer's own thread may drop the store, because a response that it frees may hold the store. A thread
        // cannot wait for itself.
        if let Some(writer) = writer.filter(|writer| writer.thread().id() != thread::current().id()) {
            let _ = writer.join();
        }
        close(self.shared.disk.write().unwrap_or_else(PoisonError::into_inner).take());
    }
}
