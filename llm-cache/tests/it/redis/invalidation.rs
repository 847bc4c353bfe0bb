//! What one process invalidates is served by none, within the bound.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use llm_cache::{Cache, Tag};
use llm_testkit::redis::RedisServer;
use tokio::time::{Instant, sleep};

use super::{is_full, key, not_asked, open, put};

/// The versions that were invalidated, and when that was done.
#[derive(Default)]
struct History(Mutex<Vec<(Instant, u64)>>);

impl History {
    fn add(&self, version: u64) {
        self.0.lock().expect("no test panics holding it").push((Instant::now(), version));
    }

    /// The oldest version that may be served to whoever asks now.
    fn oldest(&self, bound: Duration) -> u64 {
        let done = self.0.lock().expect("no test panics holding it");
        done.iter().rev().find(|(at, _)| at.elapsed() >= bound).map_or(0, |(_, version)| *version)
    }
}

async fn read(
    cache: Cache,
    version: Arc<AtomicU64>,
    history: Arc<History>,
    bound: Duration,
    stop: Arc<AtomicBool>,
) -> u64 {
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        let oldest = history.oldest(bound);
        let version = Arc::clone(&version);
        let call = move || async move {
            let known = version.load(Ordering::SeqCst);
            sleep(Duration::from_millis(2)).await;
            Ok::<_, io::Error>(known)
        };
        let got = *cache.get_or_call(&key(reads % 3), call).await.expect("it is answered").value;
        assert!(got >= oldest, "version {got} was served after {oldest} had been invalidated for {bound:?}");
        reads += 1;
    }
    u64::from(reads)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_invalidated_is_served_after_the_bound() {
    let rounds = if is_full() { 1_000 } else { 60 };
    let server = RedisServer::spawn();
    let bound = Duration::from_millis(100);
    let caches = [0, 1].map(|_| open(&server, |builder| builder.invalidated_within(bound)));
    let (version, history) = (Arc::new(AtomicU64::new(0)), Arc::new(History::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = [0, 1, 0, 1]
        .map(|at: usize| tokio::spawn(read(caches[at].clone(), version.clone(), history.clone(), bound, stop.clone())))
        .into();
    for round in 0..rounds {
        let next = version.fetch_add(1, Ordering::SeqCst) + 1;
        caches[round % 2].invalidate(Tag::tenant("acme")).await.unwrap();
        history.add(next);
        sleep(Duration::from_millis(round as u64 % 7 * 3)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut reads = 0;
    for reader in readers {
        reads += reader.await.unwrap();
    }
    let hits: u64 = caches.iter().map(|cache| cache.stats().hits).sum();
    println!("{rounds} rounds, {reads} reads, {hits} hits");
    assert!(hits > 0 && reads > rounds as u64);
}

#[tokio::test]
async fn a_lost_set_of_what_was_invalidated_makes_everything_older_a_miss() {
    let server = RedisServer::spawn();
    let (one, other) = (open(&server, |builder| builder), open(&server, |builder| builder));
    put(&one, 1).await;
    one.close().await.unwrap();
    assert!(other.get_or_call(&key(1), not_asked).await.is_ok());
    server.command(&["DEL", "llm:v1:{llm-cache-generations}:dropped"]).unwrap();
    let third = open(&server, |builder| builder);
    assert!(third.get_or_call(&key(1), not_asked).await.is_err(), "whoever looks first begins a new epoch");
    let start = Instant::now();
    while other.get_or_call(&key(1), not_asked).await.is_ok() {
        sleep(Duration::from_millis(20)).await;
        assert!(start.elapsed() < Duration::from_secs(10), "memory learns of it");
    }
    put(&other, 1).await;
    other.close().await.unwrap();
    assert!(third.get_or_call(&key(1), not_asked).await.is_ok(), "and goes on");
}

#[tokio::test]
async fn a_clear_and_a_tag_reach_another_process() {
    let server = RedisServer::spawn();
    let bound = Duration::from_millis(50);
    let [one, other] = [0, 1].map(|_| open(&server, |builder| builder.invalidated_within(bound)));
    for all in [false, true] {
        put(&one, 1).await;
        one.close().await.unwrap();
        assert!(other.get_or_call(&key(1), not_asked).await.is_ok());
        match all {
            true => one.clear().await.unwrap(),
            false => one.invalidate(Tag::tenant("acme")).await.unwrap(),
        }
        sleep(bound).await;
        assert!(other.get_or_call(&key(1), not_asked).await.is_err());
    }
    put(&one, 2).await;
    one.close().await.unwrap();
    one.remove(&key(2)).await.unwrap();
    assert!(other.get_or_call(&key(2), not_asked).await.is_err());
}
