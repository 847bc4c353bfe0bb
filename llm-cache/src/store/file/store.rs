use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use llm_core::Clock;
use tokio::{runtime::Handle, sync::Semaphore, time::timeout};

use super::{
    disk::{Batch, Disk, Fault, Row},
    dropped::Dropped,
    pending::Pending,
    writer,
};
use crate::{
    Key, StoreError, Tag,
    generations::Moment,
    key::Lent,
    store::{AtRest, Census, Cursor, Entry, Far, Life, Listed, Name, Page, Record, Source, Store, at_rest::nanos},
};

/// What a file store needs to know.
pub(crate) struct FileSettings {
    pub(crate) path: PathBuf,
    pub(crate) max_bytes: u64,
    pub(crate) codec: AtRest,
    pub(crate) clock: Arc<dyn Clock>,
    /// For how long past its time an entry can be of use.
    pub(crate) grace: Duration,
}

/// Entries in a file. Dropping it writes what is pending and closes the file, which may take as long as one commit.
pub(crate) struct FileStore {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

pub(super) struct Shared {
    /// `None` once the store is closed.
    disk: RwLock<Option<Disk>>,
    pub(super) pending: Pending,
    dropped: RwLock<Dropped>,
    latest: Moment,
    pub(super) codec: AtRest,
    pub(super) max_bytes: u64,
    clock: Arc<dyn Clock>,
    grace: Duration,
    readers: Arc<Semaphore>,
    pub(super) counts: Counts,
}

#[derive(Default)]
pub(super) struct Counts {
    entries: AtomicU64,
    bytes: AtomicU64,
    spoilt: AtomicU64,
    /// Entries that were not written.
    pub(super) lost: AtomicU64,
    /// Commits that failed.
    pub(super) failed: AtomicU64,
}

/// How many threads read at once.
const READERS: usize = 16;
/// How long a reader waits for the file.
const READ_PATIENCE: Duration = Duration::from_secs(5);
/// How long whoever changes something waits for the file.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);
/// How many entries of a tenant go with one commit.
const FORGET: usize = 1024;

impl FileStore {
    /// Opens a file, and starts the thread that writes it.
    pub(crate) fn open(settings: FileSettings) -> Result<Self, StoreError> {
        let FileSettings { path, max_bytes, codec, clock, grace } = settings;
        let (disk, books, drops) = Disk::open(&path)?;
        let counts = Counts::default();
        counts.entries.store(books.entries, Ordering::Relaxed);
        counts.bytes.store(books.bytes, Ordering::Relaxed);
        let shared = Arc::new(Shared {
            disk: RwLock::new(Some(disk)),
            pending: Pending::default(),
            latest: books.last,
            dropped: RwLock::new(Dropped::new(&books, drops)),
            codec,
            max_bytes,
            clock,
            grace,
            readers: Arc::new(Semaphore::new(READERS)),
            counts,
        });
        let writer = Self::start(&path, &shared)?;
        Ok(Self { shared, writer: Mutex::new(Some(writer)) })
    }

    fn start(path: &Path, shared: &Arc<Shared>) -> Result<JoinHandle<()>, StoreError> {
        let shared = Arc::clone(shared);
        let writer = thread::Builder::new().name("llm-cache-file".to_owned()).spawn(move || writer::run(&shared));
        writer.map_err(|error| {
            StoreError::new("file", format!("{}: no thread to write it with: {error}", path.display()))
        })
    }

    /// Has something done where waiting is allowed.
    async fn apart<R: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&Shared) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let shared = Arc::clone(&self.shared);
        let Ok(runtime) = Handle::try_current() else { return work(&shared) };
        let done = async move {
            let permit = Arc::clone(&shared.readers).acquire_owned().await;
            runtime
                .spawn_blocking(move || {
                    let _permit = permit;
                    work(&shared)
                })
                .await
        };
        match timeout(patience, done).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError::new("file", "reading panicked: the file may be damaged")),
            Err(_) => Err(StoreError::new("file", "the file did not answer in time")),
        }
    }
}

impl Store for FileStore {
    fn peek(&self, key: Lent<'_>) -> Option<Arc<Entry>> {
        self.shared.pending.get(key)
    }

    fn is_far(&self) -> bool {
        true
    }

    fn fetch<'a>(&'a self, keys: &'a [Key]) -> Far<'a, Vec<Option<Arc<Entry>>>> {
        let keys = keys.to_vec();
        Box::pin(self.apart(READ_PATIENCE, move |shared| shared.fetch(&keys)))
    }

    /// It is written soon: what is pending is at hand meanwhile.
    fn put(&self, key: Key, entry: Arc<Entry>) -> bool {
        if !self.shared.codec.takes(key.tenant()) {
            return false;
        }
        let taken = self.shared.pending.put(key, Arc::new(entry.copy("file", None)));
        if !taken {
            self.shared.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    fn discard(&self, key: Lent<'_>) {
        self.shared.pending.discard(key.to_key());
    }

    fn remove<'a>(&'a self, key: &'a Key) -> Far<'a, ()> {
        let key = key.clone();
        Box::pin(self.apart(WRITE_PATIENCE, move |shared| {
            shared.pending.remove(&key);
            let name = shared.codec.name(&key);
            shared.change(|batch| batch.remove(&name)).map(drop)
        }))
    }

    fn invalidate(&self, tag: Option<&Tag>, at: Moment) -> Far<'_, ()> {
        let tag = tag.map(|tag| self.shared.codec.tag(tag));
        Box::pin(self.apart(WRITE_PATIENCE, move |shared| shared.invalidate(tag, at)))
    }

    fn latest(&self) -> Moment {
        self.shared.latest
    }

    fn forget<'a>(&'a self, tenant: &'a str) -> Far<'a, ()> {
        let tenant = tenant.to_owned();
        Box::pin(self.apart(WRITE_PATIENCE, move |shared| {
            shared.pending.remove_if(|key| key.tenant() == tenant);
            let named = shared.codec.tenant(&tenant);
            while shared.change(|batch| batch.forget(&named, FORGET))? {}
            Ok(())
        }))
    }

    fn clear(&self) -> Far<'_, ()> {
        Box::pin(self.apart(WRITE_PATIENCE, |shared| {
            shared.pending.remove_if(|_| true);
            shared.change(|batch| batch.clear())
        }))
    }

    fn census(&self) -> Census {
        let Counts { entries, bytes, spoilt, lost, failed } = &self.shared.counts;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (pending, pending_bytes) = self.shared.pending.size();
        Census {
            entries: load(entries) + pending,
            bytes: load(bytes) + pending_bytes,
            spoilt: load(spoilt),
            lost: load(lost),
            failed: load(failed),
            ..Census::default()
        }
    }

    fn close(&self) -> Far<'_, ()> {
        Box::pin(self.apart(WRITE_PATIENCE, |shared| shared.pending.drained(WRITE_PATIENCE)))
    }

    fn scan(&self, after: Option<Cursor>, most: usize) -> Far<'_, Page> {
        Box::pin(self.apart(WRITE_PATIENCE, move |shared| shared.page(after.as_ref(), most)))
    }

    fn write_records(&self, records: Vec<Record>) -> Far<'_, u64> {
        Box::pin(self.apart(WRITE_PATIENCE, move |shared| shared.write_records(&records)))
    }

    fn remove_named(&self, names: Vec<Name>) -> Far<'_, u64> {
        Box::pin(self.apart(WRITE_PATIENCE, move |shared| {
            shared.change(|batch| names.iter().try_fold(0, |gone, name| Ok(gone + u64::from(batch.remove(name)?))))
        }))
    }
}

impl Shared {
    /// Uses the file, which stays open meanwhile.
    pub(super) fn with<R>(&self, read: impl FnOnce(&Disk) -> Result<R, Fault>) -> Result<R, StoreError> {
        let disk = self.disk.read().unwrap_or_else(PoisonError::into_inner);
        let disk = disk.as_ref().ok_or_else(|| StoreError::new("file", "the file is closed"))?;
        read(disk).map_err(|error| StoreError::new("file", error.to_string()))
    }

    /// Changes the file, and the books.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Batch<'_>) -> Result<R, Fault>) -> Result<R, StoreError> {
        let (result, books) = self.with(|disk| {
            disk.change(|batch| {
                let result = change(batch)?;
                Ok((result, batch.books))
            })
        })?;
        self.counts.entries.store(books.entries, Ordering::Relaxed);
        self.counts.bytes.store(books.bytes, Ordering::Relaxed);
        Ok(result)
    }

    /// The time now, in nanoseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        nanos(self.clock.now())
    }

    /// When an entry is of no use any more.
    pub(super) fn ends(&self, life: &Life) -> u64 {
        life.fresh_until.and_then(|until| until.checked_add(self.grace)).map_or(u64::MAX, nanos)
    }

    /// Whether an entry has not been invalidated.
    pub(super) fn allows(&self, source: &Source) -> bool {
        let dropped = self.dropped.read().unwrap_or_else(PoisonError::into_inner);
        dropped.is_empty() || dropped.allow(source.tags.iter().map(|tag| self.codec.tag(tag)), source.begun)
    }

    fn fetch(&self, keys: &[Key]) -> Result<Vec<Option<Arc<Entry>>>, StoreError> {
        let names: Vec<Name> = keys.iter().map(|key| self.codec.name(key)).collect();
        let records = self.with(|disk| disk.read(&names))?;
        let entry = |((key, name), bytes): ((&Key, &Name), Option<Vec<u8>>)| {
            let record = self.read(name, &bytes?)?;
            self.allows(&record.source).then(|| Arc::new(Entry::found(key, record, "file")))
        };
        Ok(keys.iter().zip(&names).zip(records).map(entry).collect())
    }

    /// A record, if it can be read.
    fn read(&self, name: &Name, bytes: &[u8]) -> Option<Record> {
        let record = self.codec.read(name, bytes);
        if record.is_err() {
            self.counts.spoilt.fetch_add(1, Ordering::Relaxed);
        }
        record.ok()
    }

    fn invalidate(&self, tag: Option<[u8; 32]>, at: Moment) -> Result<(), StoreError> {
        let tag = {
            let mut dropped = self.dropped.write().unwrap_or_else(PoisonError::into_inner);
            match tag {
                Some(tag) if !dropped.tag(tag, at) => Some(tag),
                _ => {
                    dropped.all(at);
                    None
                }
            }
        };
        self.change(|batch| match &tag {
            Some(tag) => batch.invalidate(tag, at),
            None => batch.invalidate_all(at),
        })
    }

    fn page(&self, after: Option<&Cursor>, most: usize) -> Result<Page, StoreError> {
        let after = match after {
            Some(cursor) => Some(Name::from_hex(cursor.as_str()).ok_or_else(|| {
                StoreError::new("file", "the place to go on from is none of a file store's: begin anew")
            })?),
            None => None,
        };
        let rows = self.with(|disk| disk.list(after.as_ref(), most))?;
        let next = (rows.len() == most).then(|| rows.last().map(|(name, _)| Cursor::new(name.to_string())));
        let mut page = Page { next: next.flatten(), ..Page::default() };
        for (name, bytes) in rows {
            match self.read(&name, &bytes) {
                Some(record) => {
                    let live = self.allows(&record.source) && self.ends(&record.life) > self.now();
                    page.found.push(Listed { name, bytes: bytes.len() as u64, live, record });
                }
                None => page.spoilt.push(name),
            }
        }
        Ok(page)
    }

    /// Writes records that are still good, and newer than what lies there. Tells how many.
    fn write_records(&self, records: &[Record]) -> Result<u64, StoreError> {
        let mut rows = Vec::new();
        for record in records.iter().filter(|record| self.allows(&record.source)) {
            let (ends, begun) = (self.ends(&record.life), record.source.begun);
            let Some((name, bytes)) = self.codec.write(record) else { continue };
            let known = self.with(|disk| disk.read(&[name]))?.pop().flatten();
            let known = known.and_then(|bytes| self.codec.read(&name, &bytes).ok());
            let row = Row { name, ends, begun, record: bytes };
            if row.bytes() <= self.max_bytes && known.is_none_or(|known| known.source.begun < begun) {
                rows.push(row);
            }
        }
        self.change(|batch| {
            rows.iter().try_for_each(|row| batch.put(row))?;
            batch.shrink(self.max_bytes)
        })?;
        Ok(rows.len() as u64)
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        self.shared.pending.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The writer itself may have dropped the last answer that held this store.
        if let Some(writer) = writer.filter(|writer| writer.thread().id() != thread::current().id()) {
            let _ = writer.join();
        }
        let disk = self.shared.disk.write().unwrap_or_else(PoisonError::into_inner).take();
        // Some damage makes redb panic.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(disk)));
    }
}
