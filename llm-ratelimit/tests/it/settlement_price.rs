//! Tests of settlements without a cost, for which the limiter uses its own prices.

use llm_core::{
    Call, ChatRequest, ErrorKind, Usage, Usd,
    layer::{NoFallback, oneshot},
    price::{Price, Rate},
};
use llm_providers::{
    prices,
    scripted::{Rule, Scripted},
};
use llm_ratelimit::{Demand, Limiter, LimiterBuilder, RateLimitLayer, Settlement, UnknownPrice};

use crate::support::{AtOnce, limits, nanos, noon, unpriced};

const MINI: &str = "gpt-4o-mini";

fn builder() -> LimiterBuilder {
    limits(["$10/day"]).clock(noon())
}

/// Settles a call of 1,000 input and 10 output tokens without a cost. Returns the counted nano-dollars.
fn settled(limiter: &Limiter, demand: Demand) -> u64 {
    let reservation = limiter.try_reserve(&demand.tokens(1_000, 100_000)).expect("there is room");
    reservation.settle(Settlement::Used { usage: Usage::new(1_000, 10), cost: None });
    let status = limiter.usage("t").at_once().iter().next().expect("the budget").clone();
    assert_eq!(status.reserved, 0);
    status.used
}

fn listed(model: &str) -> u64 {
    let cost = prices::openai().cost(model, &Usage::new(1_000, 10)).expect("it is listed");
    u64::try_from(cost.nanos()).expect("not negative")
}

#[test]
fn settlement_without_cost_uses_own_prices() {
    assert_eq!(listed(MINI), 156_000);
    let limiter = builder().prices(prices::openai()).build().unwrap();
    assert_eq!(settled(&limiter, Demand::new("t", MINI)), 156_000);
    let stated = builder().prices(prices::openai()).build().unwrap();
    assert_eq!(settled(&stated, Demand::new("t", MINI).cost(nanos(5_000_000))), 156_000, "its own reservation or not");
}

#[test]
fn settlement_without_cost_uses_dearest_fallback() {
    let limiter = builder().prices(prices::openai()).build().unwrap();
    let demand = Demand::new("t", MINI).fallback_models(["gpt-4o".into()]);
    assert_eq!(settled(&limiter, demand), listed("gpt-4o"));
}

#[test]
fn settlement_without_any_price_keeps_reservation() {
    let own = |limiter: &Limiter| settled(limiter, Demand::new("t", "a model without a price").cost(nanos(7_000)));
    assert_eq!(own(&builder().prices(unpriced()).build().unwrap()), 7_000);
    assert_eq!(own(&builder().prices(prices::openai()).build().unwrap()), 7_000);
    let price = Price { input: Rate::from_nanos(1_000_000), output: Rate::from_nanos(2_000_000), ..Price::default() };
    let assumed = builder().unknown_price(UnknownPrice::Assume(price)).build().unwrap();
    assert_eq!(own(&assumed), 1_000 + 20);
}

#[test]
fn settlement_with_cost_believes_it() {
    let limiter = builder().prices(prices::openai()).build().unwrap();
    let reservation = limiter.try_reserve(&Demand::new("t", MINI).tokens(1_000, 100)).unwrap();
    reservation.settle(Settlement::Used { usage: Usage::new(1_000, 10), cost: Some(Usd::from_nanos(3)) });
    assert_eq!(limiter.usage("t").at_once().iter().next().unwrap().used, 3);
}

/// The layer knows which model answered, and uses its price if no layer below has a price.
#[tokio::test(start_paused = true)]
async fn settlement_of_fallback_uses_answering_model() {
    for (answered, priced_as) in [("gpt-4o", "gpt-4o"), (MINI, MINI), ("a model without a price", "gpt-4o")] {
        let limiter = builder().prices(prices::openai()).build().unwrap();
        let client = Scripted::new().rule(Rule::say("x").usage(Usage::new(1_000, 10)));
        let fallback = tower::ServiceBuilder::new()
            .layer(RateLimitLayer::new(limiter.clone()).fallback_models(MINI, ["gpt-4o"]))
            .map_request(|mut call: Call<ChatRequest>| {
                call.body.model = answered.into();
                call
            })
            .service(client);
        oneshot(fallback, Call::new("t", ChatRequest::new(MINI).user("a"))).await.unwrap();
        assert_eq!(limiter.usage("t").at_once().iter().next().unwrap().used, listed(priced_as), "{answered}");
    }
}

/// The price of the more expensive model alone would exceed the budget.
#[tokio::test(start_paused = true)]
async fn no_fallback_reserves_price_of_own_model() {
    let ask = async |call: Call<ChatRequest>| {
        let limiter = limits(["$0.001/day"]).clock(noon()).prices(prices::openai()).build().unwrap();
        let layer = RateLimitLayer::new(limiter).fallback_models(MINI, ["gpt-4o"]);
        let client = Scripted::new().rule(Rule::say("x").usage(Usage::new(10, 10)));
        oneshot(tower::ServiceBuilder::new().layer(layer).service(client), call)
            .await
            .map(|reply| reply.output.text().into_owned())
    };
    let call = || Call::new("t", ChatRequest::new(MINI).user("a").max_output_tokens(100));
    assert_eq!(ask(call()).await.unwrap_err().kind(), ErrorKind::OverBudget);
    let mut own = call();
    own.extensions.insert(NoFallback);
    assert_eq!(ask(own).await.unwrap(), "x");
}

/// A reservation that had to wait is priced in the same way.
#[tokio::test(start_paused = true)]
async fn settlement_after_waiting_uses_own_prices() {
    let waiting = llm_ratelimit::Waiting::at_most(std::time::Duration::from_secs(60));
    let limiter = limits(["$10/day", "1 concurrent"]).prices(prices::openai()).waiting(waiting).build().unwrap();
    let demand = Demand::new("t", MINI).tokens(1_000, 100_000);
    let first = limiter.reserve(&demand).await.unwrap();
    let second = tokio::spawn({
        let (limiter, demand) = (limiter.clone(), demand.clone());
        async move { limiter.reserve(&demand).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(limiter.stats().waiting, 1);
    let settlement = Settlement::Used { usage: Usage::new(1_000, 10), cost: None };
    first.settle(settlement);
    second.await.unwrap().unwrap().settle(settlement);
    assert_eq!(limiter.usage("t").at_once().iter().next().unwrap().used, 2 * 156_000);
}
