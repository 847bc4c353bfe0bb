//! Tests of prices by the model that answered, or that failed.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use llm_core::{
    Call, Charge, ChatRequest, ChatResponse, Choice, Error, ErrorKind, FinishReason, Part, Receipt, Reply, Usage,
    layer::{Accounting, LlmService, oneshot},
    price::ServiceTier,
};
use llm_providers::{OpenAi, prices, retry::RetryLayer};
use llm_ratelimit::{Limiter, RateLimitLayer};
use llm_testkit::Vendor;
use tower::ServiceBuilder;

use crate::support::{AtOnce, limits, noon};

const MINI: &str = "gpt-4o-mini";

fn limiter() -> Limiter {
    limits(["$10/day"]).clock(noon()).prices(prices::openai()).build().expect("the limit is right")
}

fn question() -> Call<ChatRequest> {
    Call::new("t", ChatRequest::new(MINI).user("a"))
}

/// Sends a call through a service whose vendor answers with `model`, and returns the counted nano-dollars.
async fn counted<S>(fallbacks: &[&'static str], model: &'static str, service: S) -> u64
where
    S: LlmService<ChatRequest>,
{
    let limiter = limiter();
    let stack = ServiceBuilder::new()
        .layer(RateLimitLayer::new(limiter.clone()).fallback_models(MINI, fallbacks.iter().copied()))
        .map_request(move |mut call: Call<ChatRequest>| {
            call.body.model = model.into();
            call
        })
        .service(service);
    oneshot(stack, question()).await.expect("it answers");
    spent(&limiter)
}

fn spent(limiter: &Limiter) -> u64 {
    limiter.usage("t").at_once().iter().map(|status| status.used + status.reserved).sum()
}

/// Service whose receipt names no model, as a service of an application may.
async fn own(call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
    let receipt = Receipt::default();
    receipt.edit(|facts| facts.usage = Some(Usage::new(42, 30)));
    let choice = Choice::new(0, vec![Part::text("yes")], FinishReason::Stop);
    Ok(Reply::new(ChatResponse::new("1", call.body.model, vec![choice]), receipt))
}

#[tokio::test(start_paused = true)]
async fn settlement_without_receipt_model_prices_response_model() {
    for fallbacks in [&[][..], &["gpt-4o"]] {
        assert_eq!(counted(fallbacks, "gpt-4o", tower::service_fn(own)).await, 405_000, "{fallbacks:?}");
        assert_eq!(counted(fallbacks, MINI, tower::service_fn(own)).await, 24_300, "{fallbacks:?}");
    }
}

/// The table lists the models of `openai`, but the second client has another provider name.
#[tokio::test(start_paused = true)]
async fn settlement_of_unlisted_provider_prices_answering_model() {
    for fallbacks in [&[][..], &["gpt-4o"]] {
        for model in ["gpt-4o", MINI] {
            let vendor = Vendor::builder().response_tokens(30..=30).build();
            let client = OpenAi::with_transport("sk-a", vendor.transport()).unwrap().name("second");
            let nanos = counted(fallbacks, model, client).await;
            let bill = &vendor.bills()[0];
            let listed = prices::openai().cost(model, &Usage::new(bill.input_tokens, bill.output_tokens)).unwrap();
            assert_eq!(i64::try_from(nanos), Ok(listed.nanos()), "{model} {fallbacks:?}");
        }
    }
}

/// Returns the error of an attempt at a model, in a service class.
fn failure(model: &str, tier: Option<&str>) -> Error {
    let mut facts = Accounting::default();
    (facts.model, facts.service_tier) = (Some(model.into()), tier.map(Into::into));
    Error::new(ErrorKind::Server, "it broke").with_charge(Charge::Known(Usage::new(42, 30))).with_accounting(facts)
}

#[tokio::test(start_paused = true)]
async fn failed_attempts_are_priced_by_own_model() {
    let attempts = [(MINI, None), ("gpt-4o", None), ("gpt-5-mini", Some("flex"))];
    let listed = attempts.map(|(model, tier)| {
        let tier = tier.map_or(ServiceTier::Standard, ServiceTier::named);
        prices::openai().cost_with(model, &Usage::new(42, 30), &tier.into()).unwrap().nanos()
    });
    assert_eq!(listed[..2], [24_300, 405_000]);
    let sum = u64::try_from(listed.iter().sum::<i64>()).unwrap();
    for (permits, answers) in [(true, false), (true, true), (false, false)] {
        let (limiter, made) = (limiter(), Arc::new(AtomicUsize::new(0)));
        let layer = RateLimitLayer::new(limiter.clone()).fallback_models(MINI, ["gpt-4o", "gpt-5-mini"]);
        let layer = if permits { layer } else { layer.attempts(3.try_into().unwrap()) };
        let failing = tower::service_fn(move |call| {
            let failed = attempts.get(made.fetch_add(1, Ordering::Relaxed)).copied();
            async move {
                match failed {
                    Some((model, tier)) => Err(failure(model, tier)),
                    None => own(call).await,
                }
            }
        });
        let retry = RetryLayer::new().attempts((3 + u32::from(answers)).try_into().unwrap()).retry_charged(true);
        let stack = ServiceBuilder::new().layer(layer).layer(retry).service(failing);
        let answer = oneshot(stack, question()).await;
        assert_eq!(answer.is_ok(), answers);
        assert_eq!(spent(&limiter), sum + if answers { 24_300 } else { 0 }, "{permits} {answers}");
    }
}
