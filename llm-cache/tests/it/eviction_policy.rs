//! Eviction policy: the settings reach the memory.
#![expect(clippy::unwrap_used, reason = "cases are tests, and so is what they are made of")]

use llm_cache::{Cache, EvictionPolicy, Key};
use llm_core::Origin;

/// Capacity for fewer than the hundred responses that are requested repeatedly.
const BYTES: u64 = 50_000;

/// Returns the number of new entries, out of 20, that remain in memory next to entries with many hits.
async fn fresh_kept(cache: Cache) -> usize {
    let ask = async |n: u32| {
        let key = Key::of("ns", "acme", "op", &n).unwrap();
        let call = || async { Ok::<_, std::io::Error>("x".repeat(100)) };
        cache.get_or_call(&key, call).await.unwrap().origin
    };
    for _ in 0..5 {
        for n in 0..100 {
            ask(n).await;
            ask(n).await;
        }
        cache.stats();
    }
    for n in 1_000..1_020 {
        ask(n).await;
    }
    cache.stats();
    let mut kept = 0;
    for n in 1_000..1_020 {
        kept += usize::from(matches!(ask(n).await, Origin::Cache { tier: "memory", .. }));
    }
    kept
}

#[tokio::test(start_paused = true)]
async fn policy_of_url_precedes_builder() {
    let (lru, tiny) = (EvictionPolicy::Lru, EvictionPolicy::TinyLfu);
    let sized = || Cache::builder("t").max_bytes(BYTES);
    assert_eq!(fresh_kept(sized().build().unwrap()).await, 20, "by default the least recently used goes");
    assert_eq!(fresh_kept(sized().eviction_policy(lru).build().unwrap()).await, 20);
    assert!(fresh_kept(sized().eviction_policy(tiny).build().unwrap()).await < 20, "it admits by frequency");
    let open = |policy, url: &str| Cache::builder("t").eviction_policy(policy).open(url).unwrap();
    let url = format!("memory:?max_bytes={BYTES}");
    assert_eq!(fresh_kept(open(lru, &url)).await, 20);
    assert!(fresh_kept(open(tiny, &url)).await < 20, "the builder's, where the address says nothing");
    assert_eq!(fresh_kept(open(tiny, &format!("{url}&policy=lru"))).await, 20);
    assert!(fresh_kept(open(lru, &format!("{url}&policy=tinylfu"))).await < 20);
}

#[cfg(feature = "file")]
#[tokio::test(start_paused = true)]
async fn policy_applies_to_memory_before_file() {
    for (policy, keeps_all) in [("lru", true), ("tinylfu", false)] {
        let store = crate::conformance::TestStore::file();
        let cache = Cache::builder("t").open(&format!("{}memory={BYTES}&policy={policy}", store.url())).unwrap();
        assert_eq!(fresh_kept(cache).await == 20, keeps_all, "{policy}");
    }
}
