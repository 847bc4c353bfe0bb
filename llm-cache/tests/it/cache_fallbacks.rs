//! Tests of responses of fallback models.

use llm_cache::{Cache, CacheLayer};
use llm_core::{ChatResponse, Choice, FinishReason, Origin, Part, Receipt, Reply, into_provider, into_service};
use tower::ServiceBuilder;

use crate::{single_flight_edges::Made, upstream::ask};

#[tokio::test(start_paused = true)]
async fn cache_fallbacks_stores_responses_of_fallback_models() {
    for keep in [false, true] {
        let upstream = Made::of(|call| async move {
            let choice = Choice::new(0, vec![Part::text("x")], FinishReason::Stop);
            let receipt = Receipt::default();
            receipt.edit(|accounting| {
                accounting.model = Some("the-small-one".into());
                accounting.fallback = call.body.messages.len() == 1;
            });
            Ok(Reply::new(ChatResponse::new("1", "m-2026-01-01", vec![choice]), receipt))
        });
        let builder = Cache::builder("t");
        let cache = if keep { builder.cache_fallbacks() } else { builder }.build().unwrap();
        let layers = ServiceBuilder::new().layer(CacheLayer::new(cache.clone()));
        let provider = into_provider(layers.service(into_service(upstream)));
        provider.chat(ask("a")).await.unwrap();
        let again = provider.chat(ask("a")).await.unwrap();
        assert_eq!(again.receipt.origin() == Origin::Vendor, !keep);
        assert!(again.receipt.accounting().fallback, "its caller sees that");
        let mut dated = ask("a");
        dated.body = dated.body.user("b");
        for _ in 0..2 {
            provider.chat(dated.clone()).await.unwrap();
        }
        assert_eq!(cache.stats().entries, 1 + u64::from(keep), "a model's full name is no fallback");
    }
}
