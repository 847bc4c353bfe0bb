//! Requests of many bytes: photos and documents.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::sync::Arc;

use llm_cache::{Cache, Directive, DirectivePolicy, Key, Tag};
use llm_core::{Call, ChatRequest, Message, Origin, Part, Role};

use crate::{
    conformance::TestStore,
    upstream::{Upstream, provider},
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn key(tenant: &str, text: &str) -> Key {
    Key::of("ns", tenant, "op", text).unwrap()
}

#[test]
fn key_of_long_request_is_short() {
    for size in [0, 1, 4 * KIB - 9, 4 * KIB - 8, 4 * KIB, 10 * KIB, MIB] {
        let text = "x".repeat(size);
        let whole = key("acme", &text);
        assert!(whole == key("acme", &text), "{size} bytes");
        assert!(whole.as_bytes().len() <= 4 * KIB + 128, "{size} bytes give {}", whole.as_bytes().len());
        assert!(whole != key("umbrella", &text), "{size} bytes");
        assert!(whole != Key::of("other", "acme", "op", &text).unwrap(), "{size} bytes");
        assert!(whole != Key::of("ns", "acme", "other", &text).unwrap(), "{size} bytes");
        assert!(whole != key("acme", &format!("{text}x")), "{size} bytes");
        for at in [0, size / 2, size.saturating_sub(1)].into_iter().filter(|at| *at < size) {
            let mut changed = text.clone();
            changed.replace_range(at..=at, "y");
            assert!(whole != key("acme", &changed), "{size} bytes, changed at {at}");
        }
    }
}

/// Returns a call with a photo of this size. A few bytes distinguish it from other photos.
fn photo(bytes: usize, number: u8) -> Call<ChatRequest> {
    let parts = vec![Part::text("What is in this photo?"), Part::image("image/jpeg", vec![number; bytes])];
    Call::new("acme", ChatRequest::new("m").message(Message::new(Role::User, parts)))
}

#[tokio::test(start_paused = true)]
async fn max_bytes_default_holds_photos() {
    let (upstream, cache) = (Upstream::default(), Cache::builder("photos").build().unwrap());
    let provider = provider(&upstream, &cache);
    let photos: Vec<_> = (0..12).map(|number| photo(5 * MIB, number)).chain([photo(9 * MIB, 0)]).collect();
    for is_hit in [false, true] {
        for photo in &photos {
            let origin = provider.chat(photo.clone()).await.unwrap().receipt.origin();
            assert_eq!(matches!(origin, Origin::Cache { .. }), is_hit, "{origin:?}");
        }
    }
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.hits, stats.too_large, upstream.calls()), (13, 13, 0, 13));
    assert!(stats.bytes < 64 * 1024, "{} bytes", stats.bytes);
}

#[tokio::test(start_paused = true)]
async fn forget_and_invalidate_reach_long_requests() {
    for store in [
        TestStore::memory(),
        #[cfg(feature = "file")]
        TestStore::file(),
        #[cfg(feature = "file")]
        TestStore::tiered(),
    ] {
        let upstream = Upstream::default();
        let cache = store.open_with(|builder| builder.directive_policy(DirectivePolicy::none().allow_sharing()));
        let provider = provider(&upstream, &cache);
        let text: Arc<str> = "word ".repeat(20 * KIB).into();
        let ask = |tenant: &str, scope: Option<&str>| {
            let mut call = Call::new(tenant, ChatRequest::new("m").user(Arc::clone(&text)));
            if let Some(scope) = scope {
                call.extensions.insert(Directive::new().shared(scope));
            }
            call
        };
        let calls = [ask("acme", None), ask("umbrella", None), ask("acme", Some("all"))];
        for call in &calls {
            assert_eq!(provider.chat(call.clone()).await.unwrap().receipt.origin(), Origin::Vendor);
        }
        cache.close().await.unwrap();
        let shared = provider.chat(ask("umbrella", Some("all"))).await.unwrap();
        assert!(matches!(shared.receipt.origin(), Origin::Cache { .. }));
        assert_eq!(cache.stats().entries, 3);
        cache.forget("acme").await.unwrap();
        assert_eq!(cache.stats().entries, 1, "those that acme paid for are gone");
        cache.invalidate(Tag::tenant("umbrella")).await.unwrap();
        assert_eq!(provider.chat(calls[1].clone()).await.unwrap().receipt.origin(), Origin::Vendor);
    }
}
