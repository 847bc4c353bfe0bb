//! The cache without a stack.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use llm_cache::{BuildError, Cache, CallError, Key};
use llm_core::{ManualClock, Origin};

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
                cache.get_or_call(&key(7), square).await.map(|answered| (*answered.value, answered.origin))
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
    let (CallError::Failed(a), CallError::Failed(b)) = (a.unwrap_err(), b.unwrap_err()) else {
        panic!("neither panicked")
    };
    assert!(Arc::ptr_eq(&a, &b));
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
            tokio::spawn(async move { cache.get_or_call(&key(1), panics).await.map(|answered| *answered.value) })
        })
        .collect();
    for caller in callers {
        assert!(matches!(caller.await.expect("no caller panics"), Err(CallError::Panicked)));
    }
    assert_eq!(cache.stats().running, 0);
}

#[tokio::test]
async fn get_or_call_misses_entry_of_other_type() {
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
