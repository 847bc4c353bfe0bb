//! Tests of cases that need a failing disk or particular timing.

use std::{
    fmt,
    fs::File,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, SystemTime},
};

use llm_core::{ManualClock, layer::Accounting};
use redb::{StorageBackend, backends::FileBackend};

use super::{
    disk::{Disk, Row},
    pending::Pending,
    store::FileStore,
    *,
};
use crate::{
    Key, StoreError,
    policy::Timestamp,
    store::{AtRest, Entry, EvictionPolicy, Expiry, LocalTier, Memory, Provenance, Store, Tiered},
};

/// Disk that calls a function before it writes.
struct Checked {
    file: FileBackend,
    check: Box<dyn Fn() -> io::Result<()> + Send + Sync>,
}

impl Checked {
    /// Opens the file in a directory over a [`Checked`] disk.
    fn disk(directory: &tempfile::TempDir, check: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Disk {
        let file = File::options().read(true).write(true).open(directory.path().join("answers"));
        let file = FileBackend::new(file.expect("it was made before")).expect("it is open nowhere else");
        Disk::over(Self { file, check: Box::new(check) })
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl StorageBackend for Checked {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.file.read(offset, len)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        (self.check)()?;
        self.file.set_len(len)
    }
    fn sync_data(&self, eventual: bool) -> io::Result<()> {
        (self.check)()?;
        self.file.sync_data(eventual)
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        (self.check)()?;
        self.file.write(offset, data)
    }
}

fn key(n: u32) -> Key {
    Key::of("ns", "acme", "op", &n).expect("a number can be written")
}

fn entry(n: u32, started_at: u64) -> Arc<Entry> {
    let provenance = Provenance { started_at: Timestamp::from_nanos(started_at), tags: Arc::default() };
    let expiry = Expiry { stored_at: SystemTime::UNIX_EPOCH, fresh_until: None };
    Arc::new(
        Entry::new(&key(n), Arc::new(n), None, Accounting::default(), expiry, provenance)
            .expect("a number can be written"),
    )
}

/// Creates a store in its own directory.
fn store(clock: &ManualClock) -> (tempfile::TempDir, FileStore) {
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let path = directory.path().join("answers");
    let (codec, clock) = (AtRest::new(None, None), Arc::new(clock.clone()));
    let settings = FileSettings { path, max_bytes: 1 << 20, codec, clock, grace: Duration::ZERO };
    (directory, FileStore::open(settings).expect("the directory can be written"))
}

/// Looks an entry up as calls do, so that an entry that is being written is found among the pending entries or in the
/// file.
async fn started_at(store: &impl Store, n: u32) -> Option<u64> {
    let pending = store.peek(key(n).borrowed());
    let found = match pending {
        Some(_) => pending,
        None => store.fetch(&[key(n)]).await.ok()?.pop().flatten(),
    };
    found.map(|entry| entry.provenance.started_at.nanos())
}

#[tokio::test]
async fn file_full_disk_drops_only_pending_writes() {
    let clock = ManualClock::at_unix(1_000);
    let (directory, store) = store(&clock);
    let is_full = Arc::new(AtomicBool::new(false));
    let full = Arc::clone(&is_full);
    let check = move || match full.load(Ordering::Relaxed) {
        true => Err(io::ErrorKind::StorageFull.into()),
        false => Ok(()),
    };
    store.replace(|| Checked::disk(&directory, check));
    assert!(store.put(key(1), entry(1, 1)));
    store.close().await.unwrap();
    is_full.store(true, Ordering::Relaxed);
    assert!(store.put(key(2), entry(2, 2)));
    let error = store.close().await.unwrap_err();
    assert!(error.to_string().starts_with("the cache's file store: "), "{error}");
    assert_eq!((store.stats().dropped_writes, store.stats().failed), (1, 1));

    // The file is opened again at once, and then every five seconds. Here the first attempt succeeds.
    is_full.store(false, Ordering::Relaxed);
    assert!(store.put(key(3), entry(3, 3)));
    store.close().await.unwrap();
    let found = [started_at(&store, 1).await, started_at(&store, 2).await, started_at(&store, 3).await];
    assert_eq!((found, store.stats().entries), ([Some(1), None, Some(3)], 2));
}

/// Longest time that a test waits.
const TIMEOUT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn file_writes_delay_only_close() {
    let (directory, store) = store(&ManualClock::at_unix(1_000));
    assert!(store.put(key(0), entry(0, 1)));
    store.close().await.unwrap();
    // Each write signals that it begins, and then waits for permission.
    let (begins, begun_writes) = mpsc::channel();
    let (go, may) = mpsc::channel::<()>();
    let (is_slow, may) = (Arc::new(AtomicBool::new(false)), Mutex::new(may));
    let slow = Arc::clone(&is_slow);
    let check = move || {
        if slow.load(Ordering::Relaxed) {
            let _ = begins.send(());
            let may = may.lock().expect("no test panics holding it");
            if may.recv_timeout(TIMEOUT) == Err(mpsc::RecvTimeoutError::Timeout) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    };
    store.replace(|| Checked::disk(&directory, check));
    is_slow.store(true, Ordering::Relaxed);

    assert!(store.put(key(1), entry(1, 2)));
    begun_writes.recv_timeout(TIMEOUT).expect("it is being written");
    assert!(store.put(key(2), entry(2, 3)), "and takes more meanwhile");
    for n in 1..3 {
        assert!(store.peek(key(n).borrowed()).is_some(), "what is being written is at hand");
    }
    assert_eq!(started_at(&store, 0).await, Some(1), "what lies there is read meanwhile");
    assert_eq!((store.stats().entries, store.stats().failed), (3, 0), "no write has ended");

    is_slow.store(false, Ordering::Relaxed);
    drop(go);
    store.close().await.unwrap();
    assert_eq!(store.stats().failed, 0);
    assert!(store.peek(key(1).borrowed()).is_none(), "it was written");
    assert_eq!((started_at(&store, 1).await, started_at(&store, 2).await), (Some(2), Some(3)));
}

#[tokio::test]
async fn file_corrupt_record_is_counted_miss() {
    let (directory, store) = store(&ManualClock::at_unix(1_000));
    let (name, whole) = AtRest::new(None, None).write_entry(&key(1), &entry(1, 7)).unwrap();
    let (_, foreign) = AtRest::new(None, None).write_entry(&key(2), &entry(2, 7)).unwrap();
    let changed = |at: usize, to: u8| {
        let mut record = whole.clone();
        record[at] = to;
        record
    };
    let last = whole.len() - 1;
    let records = [
        ("tampered with", changed(40, !whole[40])),
        ("tampered with at its end", changed(last, !whole[last])),
        ("cut off", whole[..last].to_vec()),
        ("nothing", Vec::new()),
        ("another program's", b"{\"answer\": 1}".to_vec()),
        ("another question's", foreign),
        ("of a later version", changed(4, 2)),
    ];
    let replaced = |record: Vec<u8>| {
        store.replace(|| {
            let (disk, ..) = Disk::open(&directory.path().join("answers")).expect("it was made before");
            let row = Row { name, ends: u64::MAX, started_at: Timestamp::from_nanos(7), record };
            disk.change(|batch| batch.put(&row)).map_err(|fault| fault.to_string()).expect("the disk has room");
            disk
        });
    };
    for (corrupt, (what, record)) in (1..).zip(records) {
        replaced(record);
        let found = store.fetch(&[key(1)]).await.expect("no error");
        assert!(matches!(found[..], [None]), "{what}");
        assert_eq!((store.stats().corrupt, store.stats().failed), (corrupt, 0), "{what}");
    }
    replaced(whole);
    assert_eq!((started_at(&store, 1).await, store.stats().corrupt), (Some(7), 7), "and the whole one is read");
}

#[tokio::test]
async fn file_eviction_spares_newer_entry() {
    let clock = ManualClock::at_unix(1_000);
    let (_directory, back) = store(&clock);
    let local = LocalTier::new(Memory::new(1 << 20, EvictionPolicy::Lru), None, Arc::new(clock));
    let store = Tiered::new(local, Arc::new(back));
    let old = entry(1, 1);
    for is_written in [false, true] {
        store.put(key(1), entry(1, 2));
        if is_written {
            store.close().await.unwrap();
        }
        store.evict_unless_newer(key(1).borrowed(), &old);
        store.fill(key(1).borrowed(), &old, 0);
        store.close().await.unwrap();
        assert_eq!(started_at(&store, 1).await, Some(2));
    }
    store.evict_unless_newer(key(1).borrowed(), &entry(1, 2));
    store.close().await.unwrap();
    assert_eq!(started_at(&store, 1).await, None);
}

#[tokio::test]
async fn forget_removes_tenant_from_both_tiers() {
    let clock = ManualClock::at_unix(1_000);
    let (_directory, back) = store(&clock);
    let local = LocalTier::new(Memory::new(1 << 20, EvictionPolicy::Lru), None, Arc::new(clock));
    let back = Arc::new(back);
    let store = Tiered::new(local, Arc::clone(&back) as _);
    for n in 0..3 {
        store.put(key(n), entry(n, 1));
    }
    // At most one of the entries still waits to be written; the others have been written.
    store.close().await.unwrap();
    store.put(key(3), entry(3, 1));
    store.forget("umbrella").await.unwrap();
    assert!((0..4).all(|n| store.peek(key(n).borrowed()).is_some()), "another tenant");
    store.forget("acme").await.unwrap();
    assert!((0..4).all(|n| store.peek(key(n).borrowed()).is_none()), "in front");
    store.close().await.unwrap();
    assert_eq!((back.stats().entries, back.stats().bytes), (0, 0), "behind");
    for n in 0..4 {
        assert_eq!(started_at(&store, n).await, None);
    }
}

#[test]
fn close_waits_only_for_earlier_writes() {
    let pending = Pending::default();
    assert!(pending.put(key(1), entry(1, 1)));
    let mine = pending.next();
    let work = pending.take();
    assert!(pending.drained(mine, Duration::ZERO).is_err(), "it is being written");
    assert!(pending.put(key(2), entry(2, 2)));
    pending.done(&work, None);
    assert_eq!(pending.drained(mine, Duration::ZERO), Ok(()));
    assert!(pending.drained(pending.next(), Duration::ZERO).is_err());
}

#[test]
fn close_reports_no_failure_that_healed() {
    let pending = Pending::default();
    let write = |n: u32, failed: Option<StoreError>| {
        assert!(pending.put(key(n), entry(n, 1)));
        pending.done(&pending.take(), failed);
    };
    let close = || pending.drained(pending.next(), Duration::ZERO);
    let failure = StoreError::new("file", "as asked");
    write(1, Some(failure.clone()));
    assert_eq!((close(), close()), (Err(failure.clone()), Ok(())), "it is reported once");
    write(2, Some(failure));
    write(3, None);
    assert_eq!(close(), Ok(()));
}

#[tokio::test]
async fn file_put_of_earlier_call_replaces_nothing() {
    let clock = ManualClock::at_unix(1_000);
    for is_written in [false, true] {
        let (_directory, store) = store(&clock);
        assert!(store.put(key(1), entry(1, 2)));
        if is_written {
            store.close().await.unwrap();
        }
        store.put(key(1), entry(1, 1));
        assert_eq!(started_at(&store, 1).await.filter(|_| !is_written), Some(2).filter(|_| !is_written));
        store.close().await.unwrap();
        assert_eq!((started_at(&store, 1).await, store.stats().entries, store.stats().dropped_writes), (Some(2), 1, 0));
    }
}
