//! Tests of variants: several responses to one request.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures_util::future::join_all;
use llm_cache::{Cache, CacheBuilder, CacheLayer, Directive};
use llm_core::{Call, ChatRequest, ChatResponse, Choice, FinishReason, Part, Provider, chat::Sampling, into_provider};
use llm_providers::scripted::{Rule, Scripted};
use tower::ServiceBuilder;

use crate::upstream::{HEAD, ask};

fn over(builder: CacheBuilder, upstream: &Scripted) -> (Cache, Arc<dyn Provider>) {
    let cache = builder.build().expect("the settings are right");
    let layers = ServiceBuilder::new().layer(CacheLayer::new(cache.clone()));
    (cache, into_provider(layers.service(upstream.clone())))
}

/// Returns a vendor that responds with a new number each time.
fn counting() -> Scripted {
    let said = AtomicU64::new(0);
    Scripted::new().rule(Rule::respond_with(move |request| {
        let part = Part::text(said.fetch_add(1, Ordering::SeqCst).to_string());
        Ok(ChatResponse::new("id", request.model.clone(), vec![Choice::new(0, vec![part], FinishReason::Stop)]))
    }))
}

async fn said(provider: &dyn Provider, call: Call<ChatRequest>) -> String {
    provider.chat(call).await.expect("the vendor answers").output.text().into_owned()
}

#[tokio::test(start_paused = true)]
async fn variants_rotate_for_sampled_requests_only() {
    let upstream = counting();
    let (cache, provider) = over(Cache::builder("t").variants(3), &upstream);
    let warm = || {
        let mut call = ask("a");
        call.body = call.body.temperature(0.7);
        call
    };
    let mut responses = Vec::new();
    for _ in 0..9 {
        responses.push(said(&*provider, warm()).await);
    }
    assert_eq!(responses, ["0", "1", "2", "0", "1", "2", "0", "1", "2"]);
    let mut only = warm();
    only.extensions.insert(Directive::new().only_if_cached());
    assert_eq!(said(&*provider, only).await, "0");

    let mut cold = ask("a");
    cold.body = cold.body.temperature(0.0);
    let mut seeded = warm();
    seeded.body.sampling = Sampling { seed: Some(1), ..seeded.body.sampling };
    for call in [ask("a"), cold, seeded] {
        let first = said(&*provider, call.clone()).await;
        assert_eq!(said(&*provider, call).await, first);
    }
    assert_eq!((upstream.calls(), cache.stats().entries), (6, 6));
}

#[tokio::test(start_paused = true)]
async fn variants_stampede_makes_one_call_each() {
    let upstream = Scripted::new().rule(Rule::say("x").after(HEAD));
    let (_, provider) = over(Cache::builder("t").variants(4), &upstream);
    join_all((0..400).map(|_| {
        let mut call = ask("a");
        call.body = call.body.temperature(1.0);
        said(&*provider, call)
    }))
    .await;
    assert_eq!(upstream.calls(), 4);
}
