//! State of a file store, and the operations of its readers and its writer.
//!
//! A damaged file is renamed, and replaced by a new one. After a failure of the disk the file is opened again, at most
//! once in five seconds. Until then the store is empty.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use llm_core::Clock;
use tokio::sync::Semaphore;

use super::{
    disk::{Batch, Disk, Fault, Row, Totals},
    invalidations::Invalidations,
    pending::Pending,
};
use crate::{
    Key, Partition, StoreError, Tag,
    policy::Timestamp,
    store::{AtRest, Cursor, Entry, Expiry, Listed, Name, Page, Provenance, Record, at_rest::nanos},
};

/// State that the store, its readers and its writer share.
pub(super) struct Shared {
    /// Path of the file.
    pub(super) path: PathBuf,
    /// Open file. `None` once the store is closed, or if the file could not be opened again.
    pub(super) disk: RwLock<Option<Disk>>,
    /// True if the disk failed since the file was opened.
    pub(super) broken: AtomicBool,
    /// Entries that are not written yet.
    pub(super) pending: Pending,
    /// Invalidations that the file remembers.
    pub(super) invalidations: RwLock<Invalidations>,
    /// Last timestamp in the file when it was opened.
    pub(super) latest: Timestamp,
    /// Codec of entries at rest.
    pub(super) codec: AtRest,
    /// Capacity of the file, in bytes.
    pub(super) max_bytes: u64,
    /// Clock by which entries expire.
    pub(super) clock: Arc<dyn Clock>,
    /// Time after its expiry for which an entry can still be used.
    pub(super) grace: Duration,
    /// Permits for threads that read the file.
    pub(super) readers: Arc<Semaphore>,
    /// Permits for threads that change the file.
    pub(super) changers: Arc<Semaphore>,
    /// Lock that is held from the beginning of a change until the change is counted, so that counts follow the order of
    /// changes.
    pub(super) changing: Mutex<()>,
    /// Counters of the store.
    pub(super) counts: Counts,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) entries: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) corrupt: AtomicU64,
    /// Number of entries that were not written.
    pub(super) dropped_writes: AtomicU64,
    /// Number of commits that failed.
    pub(super) failed: AtomicU64,
    /// Number of entries that were evicted.
    pub(super) evicted: AtomicU64,
}

/// Shortest time between two attempts to open the file again after failures of the disk, in nanoseconds.
const REOPEN_INTERVAL: u64 = 5_000_000_000;
/// Largest number of a tenant's entries that one commit removes.
const FORGET: usize = 1024;

impl Shared {
    /// Calls `read` with the open file. Replaces the file if `read` finds it damaged.
    pub(super) fn with<R>(&self, read: impl FnOnce(&Disk) -> Result<R, Fault>) -> Result<R, StoreError> {
        let disk = self.disk.read().unwrap_or_else(PoisonError::into_inner);
        let open = disk.as_ref().ok_or_else(|| StoreError::new("file", "the file is closed"))?;
        if !open.is_damaged.load(Ordering::Relaxed) {
            // redb panics on some kinds of damage.
            match catch_unwind(AssertUnwindSafe(|| read(open))) {
                Ok(Ok(result)) => return Ok(result),
                Ok(Err(fault)) if !fault.is_damage() => {
                    self.broken.fetch_or(fault.is_of_the_disk(), Ordering::Relaxed);
                    return Err(StoreError::new("file", fault.to_string()));
                }
                Ok(Err(_)) | Err(_) => open.is_damaged.store(true, Ordering::Relaxed),
            }
        }
        drop(disk);
        self.replace_damaged();
        Err(StoreError::new("file", format!("{} is damaged", self.path.display())))
    }

    /// Renames a damaged file and creates a new one, unless another caller has done so.
    fn replace_damaged(&self) {
        let mut disk = self.disk.write().unwrap_or_else(PoisonError::into_inner);
        if !disk.as_ref().is_some_and(|open| open.is_damaged.load(Ordering::Relaxed)) {
            return;
        }
        close(disk.take());
        let mut aside = self.path.clone().into_os_string();
        aside.push(".damaged");
        let path = self.path.display();
        if let Err(error) = fs::rename(&self.path, &aside) {
            tracing::error!(%path, %error, "the cache's file is damaged and is not used any more: move it away and restart");
            return;
        }
        tracing::error!(%path, aside = %aside.display(), "the cache's file is damaged: it was moved aside and replaced");
        // If the file cannot be opened, the writer tries again later.
        self.broken.store(true, Ordering::Relaxed);
        self.reopen(&mut disk);
    }

    /// Opens the file again if the disk failed, because redb then refuses all further operations. `last` is the time of
    /// the latest attempt, in nanoseconds since 1970.
    pub(super) fn reopen_if_broken(&self, last: &mut Option<u64>) {
        let now = self.now();
        let is_early = last.is_some_and(|last| (last..last.saturating_add(REOPEN_INTERVAL)).contains(&now));
        if is_early || !self.broken.load(Ordering::Relaxed) {
            return;
        }
        *last = Some(now);
        let mut disk = self.disk.write().unwrap_or_else(PoisonError::into_inner);
        close(disk.take());
        self.reopen(&mut disk);
    }

    fn reopen(&self, disk: &mut Option<Disk>) {
        match Disk::open(&self.path) {
            Ok((opened, totals, _)) => {
                self.counted(&totals);
                *disk = Some(opened);
                self.broken.store(false, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(%error, "the cache's file failed and cannot be opened again yet"),
        }
    }

    /// Commits changes to the file, and updates the counts.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Batch<'_>) -> Result<R, Fault>) -> Result<R, StoreError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (result, totals) = self.with(|disk| {
            disk.change(|batch| {
                let result = change(batch)?;
                Ok((result, batch.totals))
            })
        })?;
        self.counted(&totals);
        Ok(result)
    }

    fn counted(&self, totals: &Totals) {
        self.counts.entries.store(totals.entries, Ordering::Relaxed);
        self.counts.bytes.store(totals.bytes, Ordering::Relaxed);
    }

    /// Returns the current time, in nanoseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        nanos(self.clock.now())
    }

    /// Returns the end of an entry's use, in nanoseconds since 1970; `u64::MAX` for an entry that does not expire.
    pub(super) fn ends(&self, expiry: &Expiry) -> u64 {
        expiry.fresh_until.and_then(|until| until.checked_add(self.grace)).map_or(u64::MAX, nanos)
    }

    /// Returns `true` if an entry has not been invalidated.
    pub(super) fn allows(&self, provenance: &Provenance) -> bool {
        let invalidations = self.invalidations.read().unwrap_or_else(PoisonError::into_inner);
        invalidations.is_empty()
            || invalidations.allow(provenance.tags.iter().map(|tag| self.codec.tag(tag)), provenance.started_at)
    }

    pub(super) fn fetch(&self, keys: &[Key]) -> Result<Vec<Option<Arc<Entry>>>, StoreError> {
        let names: Vec<Name> = keys.iter().map(|key| self.codec.name(key)).collect();
        let records = self.with(|disk| disk.read(&names))?;
        let entry = |((key, name), bytes): ((&Key, &Name), Option<Vec<u8>>)| {
            let record = self.read(name, &bytes?)?;
            self.allows(&record.provenance).then(|| Arc::new(record.into_entry(key, "file")))
        };
        Ok(keys.iter().zip(&names).zip(records).map(entry).collect())
    }

    /// Decodes a record. If the record is corrupt, counts it and returns `None`.
    fn read(&self, name: &Name, bytes: &[u8]) -> Option<Record> {
        let record = self.codec.read(name, bytes);
        if record.is_err() {
            self.counts.corrupt.fetch_add(1, Ordering::Relaxed);
        }
        record.ok()
    }

    pub(super) fn invalidate(&self, tag: Option<[u8; 32]>, at: Timestamp) -> Result<(), StoreError> {
        let tag = {
            let mut invalidations = self.invalidations.write().unwrap_or_else(PoisonError::into_inner);
            match tag {
                Some(tag) if !invalidations.tag(tag, at) => Some(tag),
                _ => {
                    invalidations.all(at);
                    None
                }
            }
        };
        self.change(|batch| match &tag {
            Some(tag) => batch.invalidate(tag, at),
            None => batch.invalidate_all(at),
        })
    }

    pub(super) fn forget(&self, tenant: &str) -> Result<(), StoreError> {
        let (partition, tag) = (Partition::tenant(tenant), Tag::tenant(tenant));
        self.pending.remove_if(|key, entry| key.partition() == partition || entry.provenance.tags.contains(&tag));
        let named = self.codec.partition(&partition);
        while self.change(|batch| batch.forget(&named, FORGET))? {}
        let mut next = Some(Name::BEFORE_SHARED);
        while let Some(after) = next {
            let (rows, more) = self.with(|disk| disk.list(Some(&after), FORGET))?;
            let is_own = |record: Record| record.provenance.tags.contains(&tag);
            let own = rows.iter().filter(|(name, bytes)| self.codec.read(name, bytes).is_ok_and(is_own));
            let own: Vec<Name> = own.map(|(name, _)| *name).collect();
            if !own.is_empty() {
                self.change(|batch| own.iter().try_for_each(|name| batch.remove(name).map(drop)))?;
            }
            next = more;
        }
        Ok(())
    }

    pub(super) fn page(&self, after: Option<&Cursor>, most: usize) -> Result<Page, StoreError> {
        let after = match after {
            Some(cursor) => Some(Name::from_hex(cursor.as_str()).ok_or_else(|| {
                StoreError::new("file", "the cursor is not from a file store: list again from the beginning")
            })?),
            None => None,
        };
        let (rows, next) = self.with(|disk| disk.list(after.as_ref(), most))?;
        let mut page = Page { next: next.map(|name| Cursor::new(name.to_string())), ..Page::default() };
        for (name, bytes) in rows {
            match self.read(&name, &bytes) {
                Some(record) => {
                    let live = self.allows(&record.provenance) && self.ends(&record.expiry) > self.now();
                    page.found.push(Listed { name, bytes: bytes.len() as u64, live, record });
                }
                None => page.corrupt.push(name),
            }
        }
        Ok(page)
    }

    /// Writes records that are still valid, unless the file has an entry of the same name whose call began at the same
    /// time or later. Returns the number of written records.
    pub(super) fn write_records(&self, records: &[Record]) -> Result<u64, StoreError> {
        let mut rows = Vec::new();
        for record in records.iter().filter(|record| self.allows(&record.provenance)) {
            let (ends, started_at) = (self.ends(&record.expiry), record.provenance.started_at);
            let Some((name, bytes)) = self.codec.write(record) else { continue };
            let known = self.with(|disk| disk.started_at(&name))?;
            let row = Row { name, ends, started_at, record: bytes };
            if row.bytes() <= self.max_bytes && known.is_none_or(|known| known < started_at) {
                rows.push(row);
            }
        }
        let evicted = self.change(|batch| {
            rows.iter().try_for_each(|row| batch.put(row))?;
            batch.shrink(self.max_bytes)
        })?;
        self.counts.evicted.fetch_add(evicted, Ordering::Relaxed);
        Ok(rows.len() as u64)
    }
}

/// Closes the file. A panic is caught, because redb panics on some kinds of damage.
pub(super) fn close(disk: Option<Disk>) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(disk)));
}
