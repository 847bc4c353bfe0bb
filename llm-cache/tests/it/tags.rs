//! Test that invalidation does not visit entries.

use futures_util::future::join_all;
use llm_cache::Tag;
use llm_core::Origin;

use crate::{
    conformance::TestStore,
    upstream::{Upstream, ask, provider},
};

#[tokio::test(start_paused = true)]
async fn invalidate_removes_entries_at_lookup() {
    for store in [
        TestStore::memory(),
        #[cfg(feature = "file")]
        TestStore::file(),
        #[cfg(feature = "file")]
        TestStore::tiered(),
    ] {
        let (upstream, cache) = (Upstream::default(), store.open());
        let provider = provider(&upstream, &cache);
        join_all((0..1_000).map(|n| provider.chat(ask(&n.to_string())))).await;
        cache.close().await.unwrap();
        assert_eq!(cache.stats().entries, 1_000);
        cache.invalidate(Tag::model("m")).await.unwrap();
        cache.close().await.unwrap();
        assert_eq!(cache.stats().entries, 1_000, "none of them was touched");
        for n in [0, 500, 999] {
            assert_eq!(provider.chat(ask(&n.to_string())).await.unwrap().receipt.origin(), Origin::Vendor);
        }
        cache.close().await.unwrap();
        assert_eq!((cache.stats().entries, upstream.calls()), (1_000, 1_003), "and the new ones are in their places");
    }
}
