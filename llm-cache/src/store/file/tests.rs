//! What only a failing disk, or an unlucky moment, brings.

use std::{
    fs::File,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use llm_core::{Facts, ManualClock};
use redb::{StorageBackend, backends::FileBackend};

use super::{disk::Disk, pending::Pending, store::FileStore, *};
use crate::{
    Key,
    generations::Moment,
    store::{AtRest, Entry, Front, Life, Memory, Policy, Source, Store, Tiered},
};

/// A disk that is full when it is told so.
#[derive(Debug)]
struct Full {
    file: FileBackend,
    is_full: Arc<AtomicBool>,
}

impl Full {
    fn check(&self) -> io::Result<()> {
        match self.is_full.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Full {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.file.read(offset, len)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }
    fn sync_data(&self, eventual: bool) -> io::Result<()> {
        self.check()?;
        self.file.sync_data(eventual)
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }
}

fn key(n: u32) -> Key {
    Key::of("ns", "acme", "op", &n).expect("a number can be written")
}

fn entry(n: u32, begun: u64) -> Arc<Entry> {
    let source = Source { begun: Moment::from_nanos(begun), tags: Arc::default() };
    let life = Life { stored_at: SystemTime::UNIX_EPOCH, fresh_until: None };
    Arc::new(Entry::new(&key(n), Arc::new(n), None, Facts::default(), life, source).expect("a number can be written"))
}

/// A store in a directory of its own.
fn store(clock: &ManualClock) -> (tempfile::TempDir, FileStore) {
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let path = directory.path().join("answers");
    let (codec, clock) = (AtRest::new(None, None), Arc::new(clock.clone()));
    let settings = FileSettings { path, max_bytes: 1 << 20, codec, clock, grace: Duration::ZERO };
    (directory, FileStore::open(settings).expect("the directory can be written"))
}

async fn begun(store: &impl Store, n: u32) -> Option<u64> {
    let far = store.fetch(&[key(n)]).await.ok()?.pop().flatten();
    store.peek(key(n).lent()).or(far).map(|entry| entry.source.begun.nanos())
}

#[tokio::test]
async fn a_disk_that_was_full_costs_what_was_put_meanwhile_and_no_more() {
    let clock = ManualClock::at_unix(1_000);
    let (directory, store) = store(&clock);
    let is_full = Arc::new(AtomicBool::new(false));
    // The same file, by way of the disk that fails.
    let file = File::options().read(true).write(true).open(directory.path().join("answers")).unwrap();
    store.replace(|| {
        let backend = Full { file: FileBackend::new(file).expect("nobody else has it open"), is_full: is_full.clone() };
        Disk::over(backend)
    });
    assert!(store.put(key(1), entry(1, 1)));
    store.close().await.unwrap();
    is_full.store(true, Ordering::Relaxed);
    assert!(store.put(key(2), entry(2, 2)));
    let error = store.close().await.unwrap_err();
    assert!(error.to_string().starts_with("the cache's file store: "), "{error}");
    assert_eq!((store.census().lost, store.census().failed), (1, 1));

    // It is opened anew at once, and then every five seconds: here at the first try.
    is_full.store(false, Ordering::Relaxed);
    assert!(store.put(key(3), entry(3, 3)));
    store.close().await.unwrap();
    let found = [begun(&store, 1).await, begun(&store, 2).await, begun(&store, 3).await];
    assert_eq!((found, store.census().entries), ([Some(1), None, Some(3)], 2));
}

#[tokio::test]
async fn what_was_judged_goes_and_what_came_in_its_place_stays() {
    let clock = ManualClock::at_unix(1_000);
    let (_directory, back) = store(&clock);
    let front = Front::new(Memory::new(1 << 20, Policy::Lru), None, Arc::new(clock));
    let store = Tiered::new(front, Arc::new(back));
    let old = entry(1, 1);
    for is_written in [false, true] {
        store.put(key(1), entry(1, 2));
        if is_written {
            store.close().await.unwrap();
        }
        store.discard(key(1).lent(), &old);
        store.promote(key(1).lent(), &old, 0);
        store.close().await.unwrap();
        assert_eq!(begun(&store, 1).await, Some(2));
    }
    store.discard(key(1).lent(), &entry(1, 2));
    store.close().await.unwrap();
    assert_eq!(begun(&store, 1).await, None);
}

#[test]
fn whoever_waits_for_what_is_written_does_not_wait_for_what_comes_later() {
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

#[tokio::test]
async fn a_call_that_began_earlier_replaces_nothing() {
    let clock = ManualClock::at_unix(1_000);
    for is_written in [false, true] {
        let (_directory, store) = store(&clock);
        assert!(store.put(key(1), entry(1, 2)));
        if is_written {
            store.close().await.unwrap();
        }
        store.put(key(1), entry(1, 1));
        assert_eq!(begun(&store, 1).await.filter(|_| !is_written), Some(2).filter(|_| !is_written));
        store.close().await.unwrap();
        assert_eq!((begun(&store, 1).await, store.census().entries, store.census().lost), (Some(2), 1, 0));
    }
}
