//! Tests of charged attempts of several models that all failed: each is priced by its own model.

use std::sync::{Arc, Mutex};

use llm_core::{
    Call, Charge, ChatRequest, Error, ErrorKind, Usage, Usd, erase,
    layer::{Accounting, RetryBudget, oneshot},
};
use llm_keypool::{Group, KeyPool, LeaseRequest, Member, Outcome, requests_per_minute};
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

/// Provider that fails after it has done the work.
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

/// Returns a failure that is charged, or a refusal that costs nothing.
fn failure(status: u16) -> Error {
    let error = Outcome::status(status, None).error().unwrap().clone();
    if status >= 500 { error.with_charge(Charge::Known(used())) } else { error }
}

/// Each case has one list of statuses per key, of which the last repeats. The cases end differently: no retry is left,
/// no move is left, no member becomes available at all or in time, or a fallback cannot express the request.
#[tokio::test(start_paused = true)]
async fn final_error_lists_attempts_made_alone() {
    let limit = || Group::new("0").limit("m", requests_per_minute(1));
    for (keys, moves, retries, group) in [
        (&[&[500][..]][..], 32, 0, None),
        (&[&[500]], 32, 3, None),
        (&[&[500], &[500]], 1, 9, None),
        (&[&[401], &[401]], 32, 9, None),
        (&[&[500, 401], &[401]], 32, 9, None),
        (&[&[429], &[500]], 0, 9, None),
        (&[&[500, 429], &[500, 429]], 32, 9, None),
        (&[&[500]], 32, 9, Some(limit())),
        (&[&[500], &[400]], 32, 9, Some(limit())),
        (&[&[404]], 32, 9, None),
    ] {
        let made = Arc::new(Mutex::new(Vec::new()));
        let members = keys.iter().enumerate().map(|(tier, statuses)| {
            let member = Member::new(tier.to_string(), (tier, *statuses)).tier(tier as u32);
            if tier > 0 { member.stands_in("m", "n") } else { member }
        });
        let builder = KeyPool::builder().members(members).max_moves(moves).retry_budget(RetryBudget::new(0, retries));
        let pool = group.into_iter().fold(builder, |builder, group| builder.group(group)).seed(7).build().unwrap();
        let attempt = async |(key, statuses): (usize, &[u16])| {
            let mut made = made.lock().unwrap();
            let before = made.iter().filter(|(at, _)| *at == key).count();
            let status = statuses[before.min(statuses.len() - 1)];
            made.push((key, status));
            Err::<(), _>(failure(status))
        };
        let error = pool.run(&LeaseRequest::new("m"), attempt).await.unwrap_err();
        let made = made.lock().unwrap();
        let charged = error.attempts().filter(|attempt| attempt.charge != Charge::None).count();
        println!("{keys:?}: {made:?}, {} listed, {charged} charged: {error}", error.attempts().count());
        let expected = made.iter().filter(|(_, status)| *status >= 500).count();
        // An attempt without cost is listed only if no other attempt is.
        assert_eq!((charged, error.attempts().count()), (expected, expected.max(1)), "{made:?} {error}");
    }
}
