//! Tests of invalidation across processes, within `invalidation_bound`.

use std::{
    cell::{Cell, RefCell},
    io,
    time::{Duration, UNIX_EPOCH},
};

use llm_cache::{Cache, Tag};
use llm_core::{Clock, SystemClock};
use llm_testkit::redis::RedisServer;
use tokio::time::{Instant, sleep};

use super::{
    child::{Child, ready},
    is_full, key, not_asked, open, options, put,
};

/// Bound on the time after which no process may serve an invalidated entry.
const BOUND: Duration = Duration::from_millis(100);

/// Two timestamps in microseconds since 1970, by the clock that all processes of this machine share.
type Pair = (u64, u64);

fn now() -> u64 {
    let since = SystemClock.now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    u64::try_from(since.as_micros()).expect("a moment of this age")
}

/// Role of a child process: invalidates all entries repeatedly, and requests them all the time. A response contains the
/// time at which its call was made.
pub(super) async fn race(redis: &str, rounds: u32) {
    let url = format!("{redis}?redis_timeout=20s&claim_timeout=20s&invalidation_bound={}ms", BOUND.as_millis());
    let cache = Cache::builder("tests").open(&url).expect("the address is right");
    // Each read has the time of the request and the content of the response. Each drop has the times at which an
    // invalidation began and ended.
    let (reads, drops, racing) = (RefCell::new(Vec::<Pair>::new()), RefCell::new(Vec::<Pair>::new()), Cell::new(true));
    let call = || async {
        let made = now();
        sleep(Duration::from_millis(2)).await;
        Ok::<_, io::Error>(made)
    };
    let read = async |question| {
        while racing.get() {
            let asked = now();
            let response = *cache.get_or_call(&key(question), call).await.expect("it is answered").value;
            reads.borrow_mut().push((asked, response));
            sleep(Duration::from_micros(500)).await;
        }
    };
    let drop_all = async {
        for round in 0..rounds {
            let began = now();
            cache.invalidate(Tag::tenant("acme")).await.expect("it is remembered");
            drops.borrow_mut().push((began, now()));
            sleep(Duration::from_millis(u64::from(round % 7 * 4))).await;
        }
        sleep(BOUND * 2).await;
        racing.set(false);
    };
    ready();
    tokio::join!(read(0), read(1), read(0), drop_all);
    let line = |pairs: &[Pair]| pairs.iter().map(|(a, b)| format!("{a}:{b}")).collect::<Vec<_>>().join(",");
    println!("child reads {}", line(&reads.borrow()));
    println!("child drops {}", line(&drops.borrow()));
    println!("child hits {}", cache.stats().hits);
}

fn pairs(line: &str) -> Vec<Pair> {
    let number = |text: &str| text.parse().expect("a child prints numbers");
    line.split(',').filter_map(|pair| pair.split_once(':')).map(|(a, b)| (number(a), number(b))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn invalidation_bound_holds_across_two_processes() {
    let server = RedisServer::spawn();
    two_race(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalidation_bound_holds_without_messages() {
    let server = RedisServer::spawn();
    server.command(&["ACL", "SETUSER", "deaf", "on", ">password", "~*", "&*", "+@all", "-subscribe"]).unwrap();
    two_race(&server.url().replace("//", "//deaf:password@")).await;
}

async fn two_race(url: &str) {
    let rounds = if is_full() { 1_000 } else { 40 };
    let mut children = [0, 1].map(|_| Child::spawn(&format!("race {url} {}", rounds / 2)));
    let children = tokio::task::spawn_blocking(move || {
        children.iter_mut().for_each(Child::go);
        children.map(|mut child| ["reads", "drops", "hits"].map(|what| child.waits_for(what)))
    });
    let (mut reads, mut drops, mut hits) = (Vec::new(), Vec::new(), 0);
    for [read, dropped, hit] in children.await.expect("the children go on") {
        reads.extend(pairs(&read));
        drops.extend(pairs(&dropped));
        hits += hit.parse::<usize>().expect("a child prints a number");
    }
    drops.sort_unstable_by_key(|(_, done)| *done);
    let mut longest = 0;
    for (asked, made) in &reads {
        // The first invalidation that began after the call was made, among those that had ended before the request.
        let dropped = drops.iter().take_while(|(_, done)| done < asked).find(|(began, _)| made < began);
        longest = dropped.map_or(longest, |(_, done)| longest.max(asked - done));
    }
    println!("{rounds} rounds, {} reads, {hits} hits, an old answer was served for at most {longest} µs", reads.len());
    assert!(u128::from(longest) < BOUND.as_micros(), "an answer was served {longest} µs after it was dropped");
    assert!(drops.len() == rounds && hits > rounds && reads.len() > 2 * rounds);
}

#[tokio::test]
async fn redis_invalidation_state_lost_drops_older_entries() {
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
async fn redis_invalidation_reaches_other_process() {
    let server = RedisServer::spawn();
    let bound = Duration::from_millis(50);
    let [one, other] =
        [0, 1].map(|_| open(&server, |builder| builder.redis(options(&server).invalidation_bound(bound))));
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

#[tokio::test]
async fn remove_races_fetch_without_keeping_entry() {
    let server = RedisServer::spawn();
    let (one, other) = (open(&server, |builder| builder), open(&server, |builder| builder));
    for n in 0..50 {
        put(&one, n).await;
        one.close().await.unwrap();
        let key = key(n);
        let (_, removed) = tokio::join!(other.get_or_call(&key, not_asked), other.remove(&key));
        removed.unwrap();
        assert!(other.get_or_call(&key, not_asked).await.is_err(), "{n} was removed");
    }
}

#[tokio::test]
async fn invalidation_bound_may_be_endless() {
    let server = RedisServer::spawn();
    let endless = options(&server).invalidation_bound(Duration::MAX).lease(Duration::MAX).claim_timeout(Duration::MAX);
    let cache = Cache::builder("endless").redis(endless.redis_timeout(Duration::MAX)).build().unwrap();
    let key = cache.key("acme", "chat", &"a").unwrap();
    let found = cache.get_or_call(&key, || async { Ok::<_, io::Error>("answer".to_owned()) }).await.unwrap();
    assert_eq!(*found.value, "answer");
}
