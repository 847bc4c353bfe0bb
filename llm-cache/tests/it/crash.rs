//! Tests of a process that is killed while it writes.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use llm_cache::{Cache, Key};
use llm_core::Origin;

use crate::conformance::TestStore;

/// Environment variable that makes a process the child.
const CHILD: &str = "LLM_CACHE_TEST_CHILD";
const KEYS: u32 = 100;
/// Capacity for some of the responses, so that entries are evicted all the time.
const MAX_KB: u64 = 150;

fn key(n: u32) -> Key {
    Key::of("ns", if n.is_multiple_of(2) { "acme" } else { "umbrella" }, "op", &n).expect("a number serializes")
}

/// Returns a response whose content shows whether it is complete, and which key it belongs to.
fn response(n: u32, round: u32) -> Vec<u32> {
    let length = 50 + (n * 37 + round * 101) % 2_000;
    let sum = n.wrapping_mul(31).wrapping_add(round).wrapping_add(length);
    [n, round, length, sum].into_iter().chain((0..length).map(|at| at.wrapping_mul(n + 7) ^ round)).collect()
}

fn is_whole(n: u32, found: &[u32]) -> bool {
    found.get(1).is_some_and(|round| response(n, *round) == found)
}

/// Child process: stores, removes and invalidates entries until it is killed.
#[test]
#[expect(clippy::disallowed_methods, reason = "this is the edge of the child process")]
fn child() {
    let Ok(url) = std::env::var(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let cache = Cache::builder("tests").open(&url).unwrap();
        let tasks = (0..4).map(|task| tokio::spawn(work(cache.clone(), task)));
        futures_util::future::join_all(tasks).await;
    });
}

/// One of several tasks that do the same work, each in its own order.
async fn work(cache: Cache, task: u32) {
    for round in task.. {
        for at in 0..KEYS {
            let n = (at + task * KEYS / 4) % KEYS;
            let call = move || async move { Ok::<_, std::io::Error>(response(n, round)) };
            cache.get_or_call(&key(n), call).await.expect("the call does not fail");
            if at == KEYS / 4 {
                cache.remove(&key(round % KEYS)).await.expect("the file can be written");
            }
            if at.is_multiple_of(10) {
                println!("at work");
            }
        }
        cache.forget("umbrella").await.expect("the file can be written");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the number of kills is set from outside")]
fn file_after_sigkill_keeps_whole_entries() {
    let kills = if std::env::var("LLM_FULL").is_ok_and(|full| full == "1") { 100 } else { 20 };
    let store = TestStore::file();
    let url = format!("{}max_bytes={MAX_KB}kb", store.url());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut served, mut random) = (0, blake3::Hasher::new().finalize_xof());
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::child", "--exact", "--nocapture"])
            .env(CHILD, &url)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lived = [0];
        random.read_exact(&mut lived).unwrap();
        let mut at_work = lines.by_ref().filter(|line| line.as_ref().is_ok_and(|line| line.ends_with("at work")));
        // A task forgets a tenant after ten lines, which is about forty lines of all tasks.
        assert!(at_work.nth(5 + usize::from(lived[0]) / 4).is_some(), "the child works");
        child.kill().unwrap();
        child.wait().unwrap();
        let cache = Cache::builder("tests").open(&url).unwrap_or_else(|error| panic!("kill {kill}: {error}"));
        runtime.block_on(async {
            for n in 0..KEYS {
                let none = || async { Err::<Vec<u32>, _>(std::io::Error::other("not asked")) };
                let Ok(found) = cache.get_or_call(&key(n), none).await else { continue };
                assert!(matches!(found.origin, Origin::Cache { .. }));
                assert!(is_whole(n, &found.value), "kill {kill}, key {n}");
                served += 1;
            }
            let stats = cache.stats();
            assert_eq!((stats.corrupt, stats.store_errors), (0, 0), "kill {kill}");
            assert!(stats.bytes <= MAX_KB << 10, "kill {kill}: {stats:?}");
        });
    }
    assert!(served > kills * 10, "{served} answers");
}
