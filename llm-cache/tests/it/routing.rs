//! Tests of calls that a key pool below must not send to every member.

use std::{sync::Arc, time::Duration};

use futures_util::future::join;
use llm_cache::{Cache, CacheLayer};
use llm_core::{
    Call, ChatRequest, ChatResponse, Choice, FinishReason, Origin, Part, Provider, Receipt, Reply, into_provider,
    into_service,
    layer::{NoFallback, Pinned},
};
use tower::ServiceBuilder;

use crate::{single_flight_edges::Made, upstream::ask};

/// Returns a pool whose first member has failed. A fallback answers every call that allows it, after a second.
fn over_pool(cache: &Cache) -> Arc<dyn Provider> {
    let pool = Made::of(|call| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let receipt = Receipt::default();
        receipt.edit(|accounting| accounting.fallback = call.extensions.get::<NoFallback>().is_none());
        let choice = Choice::new(0, vec![Part::text("x")], FinishReason::Stop);
        Ok(Reply::new(ChatResponse::new("1", call.body.model, vec![choice]), receipt))
    });
    let layers = ServiceBuilder::new().layer(CacheLayer::new(cache.clone()));
    into_provider(layers.service(into_service(pool)))
}

fn no_fallback() -> Call<ChatRequest> {
    let mut call = ask("a");
    call.extensions.insert(NoFallback);
    call
}

fn pinned(group: &str) -> Call<ChatRequest> {
    let mut call = ask("a");
    call.extensions.insert(Pinned::to(group));
    call
}

#[tokio::test(start_paused = true)]
async fn no_fallback_skips_entry_of_stand_in() {
    let cache = Cache::builder("t").cache_fallbacks().build().unwrap();
    let provider = over_pool(&cache);
    let ask = async |call| {
        let reply = provider.chat(call).await.unwrap();
        (reply.receipt.origin() == Origin::Vendor, reply.receipt.accounting().fallback)
    };
    assert_eq!(ask(ask_any()).await, (true, true));
    assert_eq!(ask(ask_any()).await, (false, true), "the stand-in's response is stored");
    assert_eq!(ask(no_fallback()).await, (true, false));
    assert_eq!(ask(no_fallback()).await, (false, false), "and replaced by that of the requested model");
    assert_eq!(ask(ask_any()).await, (false, false));
}

fn ask_any() -> Call<ChatRequest> {
    ask("a")
}

#[tokio::test(start_paused = true)]
async fn single_flight_joins_equal_routing_only() {
    let calls = || [ask_any(), no_fallback(), pinned("eu"), pinned("us")];
    for (at, one) in calls().into_iter().enumerate() {
        for (other_at, other) in calls().into_iter().enumerate() {
            let cache = Cache::builder("t").build().unwrap();
            let provider = over_pool(&cache);
            let (one, other) = join(provider.chat(one.clone()), provider.chat(other)).await;
            assert_eq!((one.is_ok(), other.is_ok()), (true, true));
            assert_eq!(cache.stats().coalesced, u64::from(at == other_at), "{at} and {other_at}");
        }
    }
}
