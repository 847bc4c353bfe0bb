//! Tests of reservations of zero: each limit that applies to the call is held, and settled by the call's usage.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use llm_core::{
    Call, Charge, ChatRequest, ChatResponse, EmbedRequest, Error, ErrorKind, Operation, Task, Tasks, Usage,
    into_provider,
    layer::{Fingerprinter, oneshot},
};
use llm_providers::{
    prices,
    retry::{RetryBudget, RetryLayer},
    scripted::{Rule, Scripted},
};
use llm_ratelimit::{Demand, Limit, Limiter, Plans, RateLimitLayer, Reason, Settlement, Unit};
use serde::{Deserialize, Serialize};
use tower::{Layer, ServiceBuilder};

use crate::support::{AtOnce, DAY, ask, limits, nanos, noon, used};

const MODEL: &str = "gpt-4o-mini";

/// Each call uses 600 input tokens, 300 output tokens and $0.60.
const USED: [(&str, u64); 4] =
    [("1000 tokens", 900), ("1000 input tokens", 600), ("500 output tokens", 300), ("$1", 600_000_000)];

fn settlement() -> Settlement {
    Settlement::Used { usage: Usage::new(600, 300), cost: Some(nanos(600_000_000)) }
}

fn go(limiter: &Limiter, demand: &Demand) -> bool {
    limiter.try_reserve(demand).map(|reservation| reservation.settle(settlement())).is_ok()
}

/// The test covers every kind of limit and every span. The second call is granted because the first left room, and the
/// third is refused.
#[test]
fn zero_reservation_is_settled_in_every_limit() {
    for (amount, each) in USED {
        for span in ["/day", "/week", "/month in Europe/Berlin", "/day per model", "/minute", "/10s"] {
            for shared in [false, true] {
                let quota = format!("{amount}{span}");
                let plans = match shared {
                    false => Plans::uniform([quota.as_str()]).unwrap(),
                    true => Plans::uniform(["9k/day"]).unwrap().limit(quota.parse::<Limit>().unwrap()).unwrap(),
                };
                let limiter = Limiter::builder(plans).clock(noon()).prices(prices::openai()).build().unwrap();
                let demand = Demand::new("t", MODEL);
                let granted: Vec<bool> = (0..5).map(|_| go(&limiter, &demand)).collect();
                assert_eq!(granted, [true, true, false, false, false], "{quota}");
                let statuses = limiter.limit_statuses(&demand).at_once();
                let status = statuses.iter().find(|status| status.limit.quota().unit() != &Unit::Requests).unwrap();
                assert_eq!((status.used, status.reserved, status.remaining), (2 * each, 0, 0), "{quota}");
                let windows = status.limit.quota().windows().is_some();
                let debt = if windows { 2 * each - status.amount } else { 0 };
                assert_eq!(status.debt, debt, "{quota}");
            }
        }
    }
}

#[test]
fn zero_reservation_waits_until_debt_is_paid() {
    let clock = noon();
    let limiter = limits(["1000 tokens/day"]).clock(clock.clone()).build().unwrap();
    limiter.try_reserve(&ask("a")).unwrap().settle(used(2_000, 500));
    let after = limiter.try_reserve(&ask("a")).unwrap_err().retry_after();
    assert_eq!(after, Some(DAY + DAY / 2), "tomorrow's window pays 1,000 of 1,500");
    clock.advance(after.unwrap() - Duration::from_secs(1));
    assert!(limiter.try_reserve(&ask("a")).is_err());
    clock.advance(Duration::from_secs(1));
    limiter.try_reserve(&ask("a")).unwrap().settle(Settlement::Unsent);
    assert_eq!(limiter.usage("a").at_once().iter().next().unwrap().remaining, 500);
}

/// Requests, units and slots are known in advance, so a call that takes none of them is not delayed.
#[test]
fn zero_units_pass_used_up_units_limit() {
    let limiter = limits(["1 proposals/day"]).clock(noon()).build().unwrap();
    limiter.try_reserve(&ask("a").units(1, "proposal")).unwrap().settle(used(0, 0));
    limiter.try_reserve(&ask("a").units(0, "proposal")).unwrap().settle(used(0, 0));
    limiter.try_reserve(&ask("a").units(5, "photo")).unwrap().settle(used(0, 0));
    assert!(limiter.try_reserve(&ask("a").units(1, "proposal")).is_err());
}

/// Operation from the documentation of `Operation`, without an estimate.
#[derive(Clone)]
struct ScorePhoto {
    photo: Arc<[u8]>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Score {
    stars: u8,
}

impl Operation for ScorePhoto {
    type Output = Score;
    const NAME: &'static str = "score_photo";

    fn model(&self) -> &str {
        MODEL
    }

    fn fingerprint(&self, h: &mut Fingerprinter) {
        h.text("prompt v3").bytes(&self.photo);
    }
}

impl Task for ScorePhoto {
    fn to_request(&self) -> ChatRequest {
        ChatRequest::new(MODEL).user("How many stars?")
    }

    fn parse_response(&self, answer: ChatResponse) -> Result<Score, Error> {
        let stars = answer.text().parse().map_err(|_| Error::new(ErrorKind::Malformed, "no number"))?;
        Ok(Score { stars })
    }
}

/// Sends 100 calls at once. Returns the number that reached the vendor.
async fn score_a_hundred(limiter: &Limiter, usage: Usage) -> u64 {
    let client = Scripted::new().rule(Rule::say("5").usage(usage).after(Duration::from_secs(1)));
    let service = RateLimitLayer::new(limiter.clone()).layer(Tasks::new(client.clone()));
    let photo = |n: u8| Call::new("acme", ScorePhoto { photo: [n].into() });
    let calls = (0..100).map(|n| oneshot(service.clone(), photo(n)));
    join_all(calls).await;
    client.calls()
}

#[tokio::test(start_paused = true)]
async fn operation_without_estimate_reserves_stated_default() {
    let usage = Usage::new(60, 40);
    for (quota, reserved) in [("100 input tokens/day", 100), ("2000 output tokens/day", 512), ("2000 tokens/day", 612)]
    {
        let limiter = limits([quota]).clock(noon()).prices(prices::openai()).build().unwrap();
        let calls = score_a_hundred(&limiter, usage).await;
        let status = limiter.usage("acme").at_once().iter().next().unwrap().clone();
        assert_eq!(calls, status.amount / reserved, "{quota}");
        assert!(status.used > 0 && status.used <= status.amount && status.debt == 0, "{quota}: {status:?}");
    }
    let limiter = limits(["$0.001/day"]).clock(noon()).prices(prices::openai()).build().unwrap();
    let calls = score_a_hundred(&limiter, usage).await;
    let paid = u64::try_from(prices::openai().cost(MODEL, &usage).unwrap().nanos()).unwrap() * calls;
    assert_eq!(limiter.usage("acme").at_once().iter().next().unwrap().used, paid);
    assert!(calls > 0 && paid <= 1_000_000, "{paid} nano-dollars for {calls} calls");
}

#[tokio::test(start_paused = true)]
async fn embeddings_pass_exceeded_output_limit() {
    let limiter = limits(["100 output tokens/day", "10k input tokens/day"]).clock(noon()).build().unwrap();
    limiter.try_reserve(&ask("acme").tokens(10, 10)).unwrap().settle(used(10, 500));
    let provider = into_provider(RateLimitLayer::new(limiter.clone()).layer(Scripted::new()));
    provider.embed(Call::new("acme", EmbedRequest::new("text-embedding-3-small", ["a"]))).await.unwrap();
    let error = provider.chat(Call::new("acme", ChatRequest::new(MODEL).user("a"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OverBudget);
}

/// A failed attempt with known usage is counted even if nothing was reserved for it.
#[tokio::test(start_paused = true)]
async fn failed_attempt_with_zero_reservation_is_counted() {
    struct Nothing;
    impl llm_ratelimit::Estimator for Nothing {
        fn estimate(&self, _: &llm_ratelimit::EstimateInput<'_>) -> (u64, u64) {
            (0, 0)
        }
    }
    let limiter = limits(["1000 input tokens/day", "1000 tokens/day"]).clock(noon()).build().unwrap();
    let error = Error::new(ErrorKind::Server, "it broke").with_charge(Charge::Known(Usage::new(7, 3)));
    let fails = Rule::fail(error.with_retryable(true)).times(2);
    let client = Scripted::new().rule(fails).rule(Rule::say("x").usage(Usage::new(5, 1)));
    let retry = RetryLayer::new().budget(RetryBudget::new(100, 100)).retry_charged(true);
    let limit = RateLimitLayer::new(limiter.clone()).estimator(Nothing);
    let provider = into_provider(ServiceBuilder::new().layer(limit).layer(retry).service(client));
    provider.chat(Call::new("acme", ChatRequest::new(MODEL).user("a"))).await.unwrap();
    let counted: Vec<u64> = limiter.usage("acme").at_once().iter().map(|status| status.used).collect();
    assert_eq!(counted, [7 + 7 + 5, 10 + 10 + 6]);
}

/// An unbounded call is still refused by the upper bound.
#[tokio::test(start_paused = true)]
async fn operation_without_estimate_is_unbounded() {
    let limiter = limits(["1m tokens/day"]).clock(noon()).build().unwrap();
    let bound = llm_ratelimit::UpperBound::new(100);
    let service = RateLimitLayer::new(limiter).estimator(bound).layer(Tasks::new(Scripted::new()));
    let refused = oneshot(service, Call::new("acme", ScorePhoto { photo: Arc::default() })).await.err().unwrap();
    assert_eq!(llm_ratelimit::Refusal::of(&refused).unwrap().reason(), Reason::Unbounded);
}
