//! Charged attempts of several models that all failed: each is priced by its own model.

use std::sync::Arc;

use llm_core::{
    Call, Charge, ChatRequest, Error, ErrorKind, Usage, Usd, erase,
    layer::{Accounting, oneshot},
};
use llm_keypool::{KeyPool, Member};
use llm_providers::{
    Ledger, prices,
    scripted::{Rule, Scripted},
};
use llm_ratelimit::{Limiter, Plans, RateLimitLayer};
use tower::Layer;

const REQUESTED: &str = "gpt-4o-mini";
const STAND_IN: &str = "claude-haiku-4-5";

fn used() -> Usage {
    Usage::new(1_000, 50)
}

/// A provider that fails after it did the work.
fn failing(model: &str) -> Scripted {
    let mut accounting = Accounting::default();
    accounting.model = Some(Arc::from(model));
    let error = Error::new(ErrorKind::Server, "it broke").with_charge(Charge::Known(used()));
    Scripted::new().rule(Rule::fail(error.with_accounting(accounting)))
}

#[tokio::test(start_paused = true)]
async fn failed_attempts_cost_each_models_price() {
    let (first, second) = (failing(REQUESTED), failing(STAND_IN));
    let ledger = Ledger::new(prices::all());
    let limiter = Limiter::builder(Plans::uniform(["$10/day"]).unwrap()).prices(prices::all()).build().unwrap();
    let member = |name, provider: &Scripted| Member::new(name, ledger.attempts().layer(erase(provider.clone())));
    let pool = KeyPool::builder()
        .member(member("first", &first))
        .member(member("second", &second).tier(1).stands_in(REQUESTED, STAND_IN))
        .max_moves(3)
        .build()
        .unwrap();
    let stack = RateLimitLayer::new(limiter.clone()).fallback_models(REQUESTED, [STAND_IN]).layer(pool);
    let error = oneshot(stack, Call::new("acme", ChatRequest::new(REQUESTED).user("hi"))).await.unwrap_err();

    let calls = [(REQUESTED, first.calls()), (STAND_IN, second.calls())];
    assert!(calls.iter().all(|(_, calls)| *calls > 0), "{calls:?}");
    let cost = |model| prices::all().cost(model, &used()).unwrap();
    let paid: Usd = calls.iter().flat_map(|(model, calls)| (0..*calls).map(|_| cost(*model))).sum();
    let all = calls.iter().map(|(_, calls)| calls).sum::<u64>();
    let charged = error.attempts().filter(|attempt| attempt.charge == Charge::Known(used()));
    assert_eq!((charged.count() as u64, error.attempts().count() as u64), (all, all));
    let ledger = ledger.snapshot();
    assert_eq!((ledger.total().attempts, ledger.total().paid, ledger.balance().is_balanced()), (all, paid, true));
    let counted = limiter.usage("acme").await.iter().next().unwrap().used;
    assert_eq!(counted, u64::try_from(paid.nanos()).unwrap());
}
