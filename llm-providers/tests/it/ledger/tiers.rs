//! Tests of service classes: the cost and the upper bound of attempts, and prices that are replaced while attempts run.

use futures_util::FutureExt;
use llm_core::{
    Call, Charge, ChatRequest, Error, ErrorKind, Usage, Usd,
    layer::Accounting,
    price::{PriceTable, Prices, ServiceTier},
};
use llm_providers::{Ledger, ledger::Row};

use super::vendor::{COST, Head, Plan, stack};

/// Prices of the other tests, with half of them for flex, twice as much for priority, and a batch class.
const PRICES: &str = r#"{"as_of": "2026-01-02", "models": {"m": {
    "max_output": 100, "rows": [{"input": "1", "output": "2"}], "tiers": {
        "flex": [{"input": "0.5", "output": "1"}], "priority": [{"input": "2", "output": "4"}],
        "batch": [{"input": "0.5", "output": "1"}]},
    "surcharges": {"us": 1100, "fast": 2000}}}}"#;

pub(super) fn table() -> PriceTable {
    PriceTable::from_json(PRICES).unwrap()
}

fn request() -> ChatRequest {
    ChatRequest::new("m").user("is it safe?")
}

fn book(ledger: &Ledger, request: ChatRequest, plan: Plan) -> Row {
    let _ = stack(ledger, [plan]).chat(Call::new("acme", request)).now_or_never();
    let books = ledger.snapshot();
    assert!(books.balance().is_balanced(), "{books}");
    books.total().clone()
}

fn paid(request: ChatRequest, tier: Option<&'static str>) -> (Usd, u64) {
    let row = book(&Ledger::new(table()), request, Plan { tier, ..Plan::default() });
    (row.paid, row.unpriced_attempts)
}

/// Returns the upper bound of a dropped attempt, as a percentage of the bound at standard service.
fn bound(ledger: &Ledger, request: ChatRequest) -> Option<i64> {
    use llm_core::Operation;
    let standard = table().bound("m", &request.estimate()).unwrap().nanos();
    let row = book(ledger, request, Plan { head: Head::Hangs, ..Plan::default() });
    (row.unconfirmed.unpriced == 0).then(|| row.unconfirmed.amount.nanos() * 100 / standard)
}

#[test]
fn tier_named_by_vendor_sets_cost() {
    let half = Usd::from_nanos(COST.nanos() / 2);
    assert_eq!(paid(request(), Some("flex")), (half, 0));
    assert_eq!(paid(request(), Some("batch")), (half, 0));
    assert_eq!(paid(request(), Some("priority")), (Usd::from_nanos(COST.nanos() * 2), 0));
    assert_eq!(paid(request(), Some("default")), (COST, 0));
    assert_eq!(paid(request(), Some("scale")), (Usd::ZERO, 1), "unknown, not standard");
}

#[test]
fn tier_of_vendor_outweighs_requested() {
    let asked = request().extra("service_tier", "priority");
    assert_eq!(paid(asked.clone(), Some("default")), (COST, 0));
    assert_eq!(paid(asked, None), (Usd::from_nanos(COST.nanos() * 2), 0), "unless it names none");
    assert_eq!(paid(request().extra("service_tier", "auto"), None), (COST, 0));
}

#[test]
fn tier_unknown_bound_is_dearest() {
    let asking = |tier: &str| bound(&Ledger::new(table()), request().extra("service_tier", tier));
    let of_standard = bound(&Ledger::new(table()), request());
    assert_eq!(of_standard, Some(100));
    assert_eq!(asking("default"), of_standard);
    assert_eq!(asking("flex"), of_standard, "it may be served at standard");
    assert_eq!(asking("priority"), Some(200));
    assert_eq!(asking("scale"), None);
}

#[test]
fn default_tier_raises_bound_of_other_requests() {
    let ledger = || Ledger::new(table()).default_tier(ServiceTier::Priority);
    assert_eq!(bound(&ledger(), request()), Some(200));
    assert_eq!(bound(&ledger(), request().extra("service_tier", "auto")), Some(200));
    assert_eq!(bound(&ledger(), request().extra("service_tier", "default")), Some(100));
    let other = Ledger::new(table()).default_tier(ServiceTier::named("scale"));
    assert_eq!(bound(&other, request()), Some(100), "the model does not have it");
}

#[test]
fn surcharges_of_vendor_outweigh_request() {
    let paid = |surcharges| {
        let row = book(&Ledger::new(table()), request(), Plan { surcharges, ..Plan::default() });
        (row.paid.nanos(), row.unpriced_attempts)
    };
    assert_eq!(paid(&["us"]), (COST.nanos() * 11 / 10, 0));
    assert_eq!(paid(&["us", "fast"]), (COST.nanos() * 22 / 10, 0));
    assert_eq!(paid(&["eu"]), (0, 1), "unknown, not the list price");
}

#[test]
fn default_surcharge_raises_bound() {
    let asking = |name: &str, word: &str| bound(&Ledger::new(table()), request().extra(name, word));
    assert_eq!(asking("inference_geo", "us"), Some(110));
    assert_eq!(asking("inference_geo", "global"), Some(100));
    assert_eq!(asking("inference_geo", "eu"), None);
    assert_eq!(asking("speed", "fast"), Some(200));
    assert_eq!(asking("speed", "standard"), Some(100));
    let usual = |way: &str| Ledger::new(table()).default_surcharge(way);
    assert_eq!(bound(&usual("us"), request()), Some(110));
    assert_eq!(bound(&usual("us"), request().extra("speed", "fast")), Some(220));
    assert_eq!(bound(&usual("regional"), request()), Some(100), "the model does not have it");
}

#[test]
fn tier_of_failed_attempt_sets_cost() {
    let failed = |change: fn(&mut Accounting)| {
        let mut accounting = Accounting::default();
        change(&mut accounting);
        let error = Error::new(ErrorKind::Malformed, "odd").with_charge(Charge::Known(Usage::new(10, 5)));
        let head = Head::Fails(error.with_accounting(accounting));
        let row = book(&Ledger::new(table()), request(), Plan { head, ..Plan::default() });
        (row.paid.nanos(), row.unpriced_attempts)
    };
    assert_eq!(failed(|_| {}), (COST.nanos(), 0));
    assert_eq!(failed(|accounting| accounting.service_tier = Some("flex".into())), (COST.nanos() / 2, 0));
    assert_eq!(failed(|accounting| accounting.service_tier = Some("priority".into())), (COST.nanos() * 2, 0));
    assert_eq!(failed(|accounting| accounting.surcharges = vec!["us".into()]), (COST.nanos() * 11 / 10, 0));
    assert_eq!(failed(|accounting| accounting.model = Some("another".into())), (0, 1));
}

#[tokio::test]
async fn replace_prices_leaves_running_calls_unchanged() {
    let dearer = PriceTable::from_json(&PRICES.replace("\"input\": \"1\"", "\"input\": \"100\"")).unwrap();
    let prices = Prices::new(table());
    let ledger = Ledger::new(prices.clone());
    let provider = stack(&ledger, []);
    let running = provider.chat(Call::new("acme", request()));
    let reply = provider.chat_stream(Call::new("acme", request())).await.unwrap();
    prices.replace(dearer);
    drop(reply);
    assert_eq!(ledger.snapshot().total().paid, COST, "the stream had begun");
    drop(running.await.unwrap());
    assert_eq!(ledger.snapshot().total().paid, COST + Usd::from_nanos(10 * 100_000 + 5 * 2_000), "this had not");
    assert_eq!(ledger.snapshot().total().usage_paid, Usage::new(20, 10));
}
