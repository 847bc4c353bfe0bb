//! Tests of the capacity of every store.

use std::{io, time::Duration};

use llm_cache::{Cache, Key};
use llm_core::Origin;

use super::TestStore;

fn key(n: u32) -> Key {
    Key::of("ns", "acme", "op", &n).expect("a number serializes")
}

/// Returns a text that cannot be compressed much.
fn text(n: u32, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes);
    let mut reader = blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof();
    let mut noise = vec![0; bytes / 2];
    reader.fill(&mut noise);
    noise.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
    text
}

async fn put(cache: &Cache, n: u32, bytes: usize) {
    cache.get_or_call(&key(n), move || async move { Ok::<_, io::Error>(text(n, bytes)) }).await.unwrap();
}

async fn has(cache: &Cache, n: u32, bytes: usize) -> bool {
    let found = cache.get_or_call(&key(n), || async { Err::<String, _>(io::Error::other("not asked")) }).await;
    found.is_ok_and(|found| {
        assert_eq!(*found.value, text(n, bytes), "it is its own answer");
        matches!(found.origin, Origin::Cache { .. })
    })
}

pub(crate) async fn max_bytes_bounds_store_and_keeps_newest(store: TestStore) {
    let cache = store.open_small(100_000);
    for n in 0..100 {
        put(&cache, n, 10_000).await;
    }
    cache.close().await.unwrap();
    let stats = cache.stats();
    assert!(stats.bytes <= 100_000 && stats.entries >= 5, "{stats:?}");
    assert_eq!(stats.dropped_writes, 0, "{stats:?}");
    drop(cache);
    let cache = store.open_small(100_000);
    if cache.stats().entries > 0 {
        assert!(has(&cache, 99, 10_000).await && !has(&cache, 0, 10_000).await);
    }
}

pub(crate) async fn max_bytes_rejects_response_larger_than_store(store: TestStore) {
    let cache = store.open_small(50_000);
    put(&cache, 1, 10_000).await;
    put(&cache, 2, 300_000).await;
    cache.close().await.unwrap();
    store.clock.advance(Duration::from_secs(30));
    assert!(has(&cache, 1, 10_000).await, "it makes no room for what does not fit");
    assert!(!has(&cache, 2, 300_000).await);
}

pub(crate) async fn expired_entries_make_room(store: TestStore) {
    let cache = store.open();
    for n in 0..20 {
        put(&cache, n, 1_000).await;
    }
    cache.close().await.unwrap();
    store.clock.advance(Duration::from_secs(61));
    for n in 0..20 {
        assert!(!has(&cache, n, 1_000).await);
    }
    put(&cache, 99, 1_000).await;
    cache.close().await.unwrap();
    assert_eq!(cache.stats().entries, 1);
}
