//! Tests of the cache without a stack.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use llm_cache::{BuildError, Cache, Directive, DirectivePolicy, Key, Tag};
use llm_core::{Charge, Error, ErrorKind, ManualClock, Origin};

use crate::upstream::cache;

fn key(n: u32) -> Key {
    Key::of("ns", "acme", "square", &n).expect("a number serializes")
}

#[tokio::test(start_paused = true)]
async fn get_or_call_coalesces_ten_thousand_callers() {
    let cache = cache(&ManualClock::default());
    let calls = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..10_000)
        .map(|_| {
            let (cache, calls) = (cache.clone(), Arc::clone(&calls));
            tokio::spawn(async move {
                let square = move || async move {
                    calls.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok::<_, io::Error>(49u64)
                };
                cache.get_or_call(&key(7), square).await.map(|resolved| (*resolved.value, resolved.origin))
            })
        })
        .collect();
    let mut led = 0;
    for task in tasks {
        let (value, origin) = task.await.unwrap().unwrap();
        assert_eq!(value, 49);
        led += u32::from(origin == Origin::Vendor);
    }
    assert_eq!((calls.load(Ordering::SeqCst), led), (1, 1));
    let hit = cache.get_or_call(&key(7), || async { Err::<u64, _>(io::Error::other("not asked")) }).await.unwrap();
    assert!(matches!(hit.origin, Origin::Cache { .. }));
}

#[tokio::test(start_paused = true)]
async fn get_or_call_shares_error_without_storing() {
    let cache = cache(&ManualClock::default());
    let fail = || async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Err::<u64, _>(io::Error::other("no luck"))
    };
    let one = key(1);
    let (a, b) = tokio::join!(cache.get_or_call(&one, fail), cache.get_or_call(&one, fail));
    let (a, b) = (a.unwrap_err(), b.unwrap_err());
    assert_eq!(
        (a.message(), a.charge(), b.message(), b.charge()),
        ("no luck", Charge::Unknown, "no luck", Charge::None)
    );
    let source = |error: &Error| std::error::Error::source(error).is_some_and(|source| source.is::<io::Error>());
    assert!(source(&a) && source(&b));
    let fine = cache.get_or_call(&key(1), || async { Ok::<_, io::Error>(1u64) }).await.unwrap();
    assert_eq!((*fine.value, fine.origin), (1, Origin::Vendor));
}

#[tokio::test(start_paused = true)]
async fn get_or_call_panic_fails_all_callers() {
    let cache = cache(&ManualClock::default());
    let panics = || async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if true {
            panic!("as asked");
        }
        Ok::<u64, io::Error>(1)
    };
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get_or_call(&key(1), panics).await.map(|resolved| *resolved.value) })
        })
        .collect();
    for caller in callers {
        let result = caller.await.expect("no caller panics");
        assert!(result.is_err_and(|error| error.message().contains("panicked")));
    }
    assert_eq!(cache.stats().running, 0);
}

#[tokio::test(start_paused = true)]
async fn get_or_call_keeps_own_errors_kind() {
    let cache = cache(&ManualClock::default());
    let busy = || async { Err::<u64, _>(Error::from_status(429).with_retry_after(Duration::from_secs(7))) };
    let error = cache.get_or_call(&key(1), busy).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(Duration::from_secs(7))));
    // Errors of keys, calls and the application convert to one type with `?`.
    async fn ask(cache: &Cache) -> Result<u64, Error> {
        let key = cache.key("acme", "square", &8)?;
        Ok(*cache.get_or_call(&key, async || Ok::<_, Error>(64)).await?.value)
    }
    assert_eq!(ask(&cache).await.unwrap(), 64);
}

#[tokio::test(start_paused = true)]
async fn get_or_call_runs_borrowing_closure_if_leading() {
    let cache = cache(&ManualClock::default());
    let (question, asked) = (String::from("seven"), std::cell::Cell::new(0));
    let ask = || {
        asked.set(asked.get() + 1);
        let question = question.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok::<_, io::Error>(question.len())
        }
    };
    let one = key(7);
    let (a, b) = tokio::join!(cache.get_or_call(&one, ask), cache.get_or_call(&one, ask));
    assert_eq!((*a.unwrap().value, *b.unwrap().value, asked.get()), (5, 5, 1), "one leads");
    assert_eq!((*cache.get_or_call(&one, ask).await.unwrap().value, asked.get()), (5, 1), "an entry is served");
    let stored = cache.get_or_call_with(&key(8), &Directive::new().only_if_cached(), ask).await;
    assert_eq!((stored.unwrap_err().kind(), asked.get()), (ErrorKind::NotFound, 1));
}

#[tokio::test(start_paused = true)]
async fn get_or_call_panic_fails_waiters() {
    let cache = cache(&ManualClock::default());
    let leader = {
        let cache = cache.clone();
        let panics = || -> std::future::Ready<io::Result<u64>> { panic!("as asked") };
        tokio::spawn(async move { cache.get_or_call(&key(1), panics).await.map(drop) })
    };
    assert!(leader.await.is_err_and(|error| error.is_panic()), "it is the leader's own");
    let fine = cache.get_or_call(&key(1), async || Ok::<_, io::Error>(1u64)).await.unwrap();
    assert_eq!((*fine.value, cache.stats().running), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn get_or_call_across_threads_calls_once() {
    let cache = Cache::builder("threads").build().unwrap();
    for round in 0..200 {
        let calls = Arc::new(AtomicU64::new(0));
        let caller = || {
            let (cache, calls) = (cache.clone(), Arc::clone(&calls));
            tokio::spawn(async move {
                let count = || {
                    let calls = Arc::clone(&calls);
                    async move { Ok::<_, io::Error>(calls.fetch_add(1, Ordering::SeqCst)) }
                };
                cache.get_or_call(&key(round), count).await.map(|one| *one.value)
            })
        };
        let callers: Vec<_> = (0..4).map(|_| caller()).collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap().unwrap(), 0);
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn get_or_call_with_directive_sets_ttl() {
    let clock = ManualClock::default();
    let policy = DirectivePolicy::none().max_ttl(Duration::from_secs(30));
    let cache = Cache::builder("t").ttl(Duration::from_secs(600)).directive_policy(policy).clock(clock.clone());
    let cache = cache.build().unwrap();
    let calls = AtomicU64::new(0);
    let ask = async |n: u32, directive: Directive| {
        let call = || std::future::ready(Ok::<_, io::Error>(calls.fetch_add(1, Ordering::SeqCst)));
        *cache.get_or_call_with(&key(n), &directive, call).await.unwrap().value
    };
    let (short, long) = (Directive::new().ttl(Duration::from_secs(10)), Directive::new().ttl(Duration::from_secs(60)));
    let responses = async || {
        let tagged = Directive::new().tag(Tag::label("prompt", "v1"));
        [ask(1, short.clone()).await, ask(2, long.clone()).await, ask(3, tagged).await, ask(4, Directive::new()).await]
    };
    assert_eq!(responses().await, [0, 1, 2, 3]);
    clock.advance(Duration::from_secs(11));
    assert_eq!(responses().await, [4, 1, 2, 3], "its own time to live");
    clock.advance(Duration::from_secs(20));
    assert_eq!(responses().await, [5, 6, 2, 3], "the policy bounds it");
    cache.invalidate(Tag::label("prompt", "v1")).await.unwrap();
    assert_eq!(responses().await, [5, 6, 7, 3], "its own tag");
    assert_eq!(ask(4, Directive::new().no_cache()).await, 8, "refreshed");
    assert_eq!(responses().await, [5, 6, 7, 8]);
    assert_eq!(ask(4, Directive::new().no_store()).await, 9, "bypassed");
    assert_eq!(responses().await, [5, 6, 7, 8]);
}

#[tokio::test]
async fn get_or_call_misses_other_type() {
    let cache = cache(&ManualClock::default());
    cache.get_or_call(&key(1), || async { Ok::<_, io::Error>(1u64) }).await.unwrap();
    let text = cache.get_or_call(&key(1), || async { Ok::<_, io::Error>("one".to_owned()) }).await.unwrap();
    assert_eq!(*text.value, "one");
}

#[test]
fn build_error_for_settings_that_store_nothing() {
    assert_eq!(Cache::builder("").build().unwrap_err(), BuildError::Namespace);
    assert_eq!(Cache::builder("a").ttl(Duration::ZERO).build().unwrap_err(), BuildError::Ttl);
    assert_eq!(Cache::builder("a").negative_ttl(Duration::ZERO).build().unwrap_err(), BuildError::Ttl);
    for bytes in [0, 1, 1_023] {
        assert_eq!(Cache::builder("a").max_bytes(bytes).build().unwrap_err(), BuildError::Capacity);
        assert_eq!(Cache::builder("a").max_response_bytes(bytes).build().unwrap_err(), BuildError::Capacity);
    }
    assert_eq!(Cache::builder("a").variants(0).build().unwrap_err(), BuildError::Variants);
    assert!(Cache::builder("a").max_bytes(1_024).max_response_bytes(1_024).variants(1).build().is_ok());
}

#[test]
fn key_debug_hides_request() {
    let key = Key::of("ns", "acme", "ask", "my secret diary").unwrap();
    assert!(!format!("{key:?}").contains("diary"));
}
