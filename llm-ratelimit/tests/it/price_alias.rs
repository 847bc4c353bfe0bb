//! Tests of aliases: with one line in the table, deployments and prefixed names have the price of a listed model.

use std::sync::Arc;

use llm_core::{
    Call, ChatRequest, ChatResponse, ChatStream, EmbedRequest, Embeddings, Error, Provider, Receipt, Reply, Usage, Usd,
    into_service,
    layer::{Accounting, SideCall, oneshot},
    price::{Price, PriceTable, Rate, UnknownCost},
};
use llm_providers::prices;
use llm_ratelimit::{Limiter, RateLimitLayer, Reason, Refusal, UnknownPrice};
use tower::Layer;

use crate::support::{AtOnce, ask, limits, noon};

const MINI: &str = "gpt-4o-mini";
const NAMES: [&str; 2] = ["my-deployment", "openai/gpt-4o-mini"];

fn limiter(prices: PriceTable) -> Limiter {
    limits(["$10/day"]).clock(noon()).prices(prices).build().expect("limits and prices are right")
}

fn table() -> PriceTable {
    NAMES.iter().fold(prices::openai(), |table, name| table.alias(*name, MINI))
}

fn spent(limiter: &Limiter) -> u64 {
    limiter.usage("a").at_once().iter().next().expect("the budget").used
}

/// Vendor that answers with this accounting.
struct Vendor(Accounting);

#[async_trait::async_trait]
impl Provider for Vendor {
    async fn chat(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        call.mark_sent();
        Ok(Reply::new(ChatResponse::new("1", call.body.model, Vec::new()), Receipt::new(self.0.clone())))
    }
    async fn chat_stream(&self, _: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        unreachable!("these tests ask for whole answers")
    }
    async fn embed(&self, _: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        unreachable!("these tests embed nothing")
    }
}

/// Returns the nano-dollars that are counted for a call for `model` that is answered with this accounting.
async fn counted(model: &str, change: impl FnOnce(&mut Accounting)) -> u64 {
    let limiter = limiter(table());
    let mut facts = Accounting::default();
    facts.usage = Some(Usage::new(1_000, 100));
    change(&mut facts);
    let stack = RateLimitLayer::new(limiter.clone()).layer(into_service(Arc::new(Vendor(facts))));
    oneshot(stack, Call::new("a", ChatRequest::new(model).user("hi").max_output_tokens(100)))
        .await
        .expect("there is room");
    spent(&limiter)
}

#[test]
fn alias_reserves_price_of_listed_model() {
    for (name, provider) in NAMES.into_iter().flat_map(|name| [(name, None), (name, Some("azure"))]) {
        let limiter = limiter(table());
        let mut demand = ask("a").tokens(1_000, 100);
        (demand.model, demand.provider) = (name.into(), provider.map(Into::into));
        let reservation = limiter.try_reserve(&demand).unwrap();
        assert_eq!(limiter.usage("a").at_once().iter().next().unwrap().reserved, 1_000 * 150 + 100 * 600, "{name}");
        drop(reservation);
    }
}

#[test]
fn unpriced_refusal_names_alias_line() {
    for (name, like) in [("my-deployment", "…"), ("openai/gpt-4o-mini", MINI)] {
        let mut demand = ask("a").tokens(1, 1);
        demand.model = name.into();
        let refusal = limiter(prices::openai()).try_reserve(&demand).unwrap_err();
        assert_eq!(refusal.reason(), Reason::Unpriced);
        assert!(matches!(refusal.unknown_cost(), Some(UnknownCost::Model { .. })));
        let line = format!(".alias({name:?}, {like:?})");
        assert!(refusal.to_string().contains(&line), "{refusal}");
        assert!(Error::from(refusal.clone()).message().contains(&line), "{refusal}");
        assert_eq!(Refusal::of(&refusal.clone().into()), Some(&refusal));
    }
}

#[test]
fn named_provider_has_its_own_prices_only() {
    let mut demand = ask("a").tokens(1, 1);
    demand.model = MINI.into();
    assert!(limiter(prices::openai()).try_reserve(&demand.clone().provider("openai")).is_ok());
    let refusal = limiter(prices::openai()).try_reserve(&demand.clone().provider("azure")).unwrap_err();
    assert!(refusal.to_string().contains("at \"azure\""), "{refusal}");
    let azure = prices::openai().provider_alias("azure", "openai");
    assert!(limiter(azure).try_reserve(&demand.clone().provider("azure")).is_ok());
    let assumed = UnknownPrice::Assume(Price { input: Rate::from_nanos(1), ..Price::default() });
    let limiter = limits(["$10/day"]).clock(noon()).prices(prices::openai()).unknown_price(assumed).build().unwrap();
    assert!(limiter.try_reserve(&demand.provider("azure")).is_ok());
}

#[tokio::test]
async fn alias_prices_settlement_of_answer() {
    let listed = 1_000 * 150 + 100 * 600;
    for name in NAMES {
        let answered = |facts: &mut Accounting| {
            (facts.provider, facts.model) = (Some("azure".into()), Some("gpt-4o-mini-2024-07-18".into()));
        };
        assert_eq!(counted(name, answered).await, listed, "{name}");
    }
    let stated = counted(NAMES[1], |facts| facts.cost = Some(Usd::from_nanos(7)));
    assert_eq!(stated.await, 7, "what the vendor states");
}

#[tokio::test]
async fn settlement_prices_side_calls_apart() {
    let with_side = |facts: &mut Accounting| {
        facts.model = Some(MINI.into());
        facts.side_calls = vec![SideCall::new(Usage::new(600, 0)).with_model("gpt-4o")];
    };
    assert_eq!(counted(MINI, with_side).await, 400 * 150 + 100 * 600 + 600 * 2_500);
}

#[tokio::test]
async fn implausible_usage_settles_reservation() {
    for usage in [Usage::new(u64::MAX, 1), Usage::new(1, u64::MAX)] {
        let spent = counted(MINI, |facts| facts.usage = Some(usage)).await;
        assert!(spent > 0 && spent < 1_000_000, "{spent}");
    }
}
