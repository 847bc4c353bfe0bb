//! Tests of retries below the limiter: every attempt that may have been paid is counted.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use futures_util::FutureExt;
use llm_core::{
    Call, Charge, ChatRequest, ChatResponse, Error, ErrorKind, Provider, Reply, Usage, into_provider,
    layer::{AttemptPermit, Streamed},
};
use llm_providers::{
    prices,
    retry::{RetryBudget, RetryLayer},
    scripted::{Rule, Scripted},
};
use llm_ratelimit::{Limiter, RateLimitLayer, UpperBound, Waiting};
use tower::{Layer, Service, ServiceBuilder, service_fn};

use crate::support::{AtOnce, DAY, ask, limits, noon, used};

fn limiter<'a>(quotas: impl IntoIterator<Item = &'a str>) -> Limiter {
    limits(quotas).clock(noon()).prices(prices::openai()).build().expect("the limits are right")
}

fn question() -> Call<ChatRequest> {
    Call::new("acme", ChatRequest::new("gpt-4o-mini").user("a").max_output_tokens(100))
}

fn fails(charge: Charge) -> Rule {
    Rule::fail(Error::new(ErrorKind::Server, "it broke").with_charge(charge).with_retryable(true))
}

/// Returns a stack that makes up to five attempts, even after charged ones, under a limiter.
fn stack(limiter: &Limiter, client: &Scripted) -> Arc<dyn Provider> {
    let retry = RetryLayer::new()
        .attempts(NonZeroU32::new(5).expect("not zero"))
        .budget(RetryBudget::new(100, 100))
        .retry_charged(true);
    let limit = RateLimitLayer::new(limiter.clone()).estimator(UpperBound::new(1_000));
    into_provider(ServiceBuilder::new().layer(limit).layer(retry).service(client.clone()))
}

fn spent(limiter: &Limiter) -> Vec<u64> {
    limiter.usage("acme").at_once().iter().map(|status| status.used + status.reserved).collect()
}

#[tokio::test(start_paused = true)]
async fn attempt_permit_refuses_without_room() {
    let (limiter, client) = (limiter(["250 output tokens/day", "1/day"]), Scripted::new().rule(fails(Charge::Unknown)));
    let error = stack(&limiter, &client).chat(question()).await.unwrap_err();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Server, Charge::Unknown), "the attempt's own error");
    assert_eq!((client.calls(), spent(&limiter)), (2, vec![200, 1]), "a third might have cost 100 more");
    assert_eq!(limiter.close().await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn shadow_permits_all_attempts() {
    let limiter = limits(["250 output tokens/day"]).clock(noon()).shadow().build().unwrap();
    let client = Scripted::new().rule(fails(Charge::Unknown));
    stack(&limiter, &client).chat(question()).await.unwrap_err();
    assert_eq!((client.calls(), limiter.stats().refused), (5, 3));
}

#[tokio::test(start_paused = true)]
async fn attempt_permit_asks_both_limiters() {
    let client = Scripted::new().rule(fails(Charge::Unknown));
    let (outer, inner) = (limiter(["1000 output tokens/day"]), limiter(["450 output tokens/day"]));
    let [above, below] = [&outer, &inner].map(|limiter| RateLimitLayer::new(limiter.clone()));
    let retry = RetryLayer::new()
        .attempts(NonZeroU32::new(9).expect("not zero"))
        .budget(RetryBudget::new(100, 100))
        .retry_charged(true);
    let provider = into_provider(ServiceBuilder::new().layer(above).layer(below).layer(retry).service(client.clone()));
    provider.chat(question()).await.unwrap_err();
    assert_eq!((client.calls(), spent(&inner)), (4, vec![400]));
    assert_eq!(spent(&outer), [400], "neither counts what the other refuses");
}

#[tokio::test(start_paused = true)]
async fn attempt_of_unknown_charge_stays_spent() {
    for (charge, failed) in [(Charge::None, 0), (Charge::Unknown, 100), (Charge::Known(Usage::new(3, 40)), 40)] {
        let limiter = limiter(["1000 output tokens/day", "10/day", "1 concurrent"]);
        let client = Scripted::new().rule(fails(charge).times(2)).rule(Rule::say("x").usage(Usage::new(3, 5)));
        stack(&limiter, &client).chat(question()).await.unwrap();
        assert_eq!((client.calls(), spent(&limiter)), (3, vec![2 * failed + 5, 1, 0]), "{charge:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_usage_is_counted_once() {
    let client = Scripted::new().rule(fails(Charge::Known(Usage::new(10, 20))));
    let limiter = limiter(["1000 tokens/day", "$1/day"]);
    let error = stack(&limiter, &client).chat(question()).await.unwrap_err();
    assert_eq!((client.calls(), error.charge()), (5, Charge::Known(Usage::new(50, 100))));
    let each = prices::openai().cost("gpt-4o-mini", &Usage::new(10, 20)).unwrap();
    assert_eq!(spent(&limiter), [150, 5 * u64::try_from(each.nanos()).unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn fallback_models_reserve_the_dearest_price() {
    let reserved_by = async |asked: &'static str, fallbacks: &[&'static str]| {
        let limiter = limiter(["$1/day"]);
        let layer = RateLimitLayer::new(limiter.clone()).fallback_models("gpt-4o-mini", fallbacks.iter().copied());
        let mut service = layer.layer(Scripted::new());
        let running = service.call(question().map(|body| Streamed(ChatRequest { model: asked.into(), ..body }))).await;
        let reserved = limiter.usage("acme").at_once().iter().next().unwrap().reserved;
        drop(running);
        reserved
    };
    let reserved = async |fallbacks| reserved_by("gpt-4o-mini", fallbacks).await;
    let (cheap, dear) = (reserved(&[]).await, reserved(&["gpt-4o"]).await);
    assert!(cheap > 0 && dear > 10 * cheap, "{cheap} {dear}");
    assert_eq!(reserved(&["gpt-4o", "gpt-4o-mini"]).await, dear);
    assert_eq!(reserved(&["gpt-4o", "a model without a price"]).await, 0, "refused");
    assert_eq!(reserved_by("gpt-4o-mini-2024-07-18", &["gpt-4o"]).await, cheap, "no other answers for this one");
}

#[tokio::test(start_paused = true)]
async fn shadow_refuses_no_further_attempt() {
    let limiter = limits(["150 output tokens/day"]).clock(noon()).shadow().build().unwrap();
    let client = Scripted::new().rule(fails(Charge::Unknown).times(3)).rule(Rule::say("x").usage(Usage::new(3, 5)));
    stack(&limiter, &client).chat(question()).await.unwrap();
    assert_eq!((client.calls(), limiter.stats().refused), (4, 3), "it counts what it would have refused");
}

/// A running call has been admitted. Waiting calls must not delay its second attempt.
#[tokio::test(start_paused = true)]
async fn attempt_with_room_passes_waiters() {
    let waiting = Waiting::at_most(2 * DAY);
    let limiter = limits(["1000 output tokens/day"]).clock(noon()).waiting(waiting).build().unwrap();
    limiter.try_reserve(&ask("acme").tokens(0, 500)).unwrap().settle(used(0, 500));
    let large = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.reserve(&ask("acme").tokens(0, 1_000)).await.map(drop) }
    });
    let hanging = fails(Charge::Unknown).times(1).after(Duration::from_secs(1));
    let client = Scripted::new().rule(hanging).rule(Rule::say("x").usage(Usage::new(3, 5)));
    let provider = stack(&limiter, &client);
    let (answer, ()) = tokio::join!(provider.chat(question()), async {
        tokio::task::yield_now().await;
        assert_eq!(limiter.stats().waiting, 1);
    });
    answer.unwrap();
    assert_eq!((client.calls(), spent(&limiter)), (2, vec![500 + 100 + 5]));
    large.abort();
}

/// Cancels a call while it waits for the permit of its second attempt, or before it sends that attempt.
async fn left_after(failed: &Error, is_sent: bool, is_permitted: bool) -> Vec<u64> {
    let limiter = limiter(["1000 output tokens/day", "10/day", "1 concurrent"]);
    let failed = failed.clone();
    let client = service_fn(move |call: Call<ChatRequest>| {
        let failed = failed.clone();
        async move {
            if is_sent {
                call.mark_sent();
            }
            let permit: &AttemptPermit = call.extensions.get().expect("the limiter adds one");
            permit.request(&failed).await?;
            std::future::pending::<Result<Reply<ChatResponse>, Error>>().await
        }
    });
    let mut call = question();
    if !is_permitted {
        call.extensions.insert(AttemptPermit::new(|_| std::future::pending()));
    }
    let mut running = Box::pin(RateLimitLayer::new(limiter.clone()).layer(client).call(call));
    assert!(running.as_mut().now_or_never().is_none());
    drop(running);
    spent(&limiter)
}

#[tokio::test]
async fn attempt_left_before_keeps_what_was_sent() {
    for (charge, is_sent, expected) in [
        (Charge::None, false, [0, 0, 0]),
        (Charge::None, true, [0, 1, 0]),
        (Charge::Known(Usage::new(3, 40)), true, [40, 1, 0]),
        (Charge::Unknown, true, [100, 1, 0]),
    ] {
        let failed = Error::new(ErrorKind::Server, "it broke").with_charge(charge);
        for is_permitted in [false, true] {
            let spent = left_after(&failed, is_sent, is_permitted).await;
            assert_eq!(spent, expected, "{charge:?}, sent: {is_sent}, permitted: {is_permitted}");
        }
    }
}
