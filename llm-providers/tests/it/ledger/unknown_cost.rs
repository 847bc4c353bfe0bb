//! Tests of unknown costs: receipts and the ledger show them with their cause.

use std::sync::Arc;

use futures_util::FutureExt;
use llm_core::{Amount, Call, ChatRequest, Receipt, Usage, Usd, into_provider, into_service, price::UnknownCost};
use llm_providers::{Ledger, ledger::Charged};
use tower::ServiceBuilder;

use super::vendor::{COST, Head, Plan, Vendor, call, ledger, stack};

fn receipt(ledger: &Ledger, plan: Plan) -> Receipt {
    stack(ledger, [plan]).chat(call("acme")).now_or_never().unwrap().unwrap().receipt
}

#[test]
fn unknown_cost_is_named_everywhere() {
    for (plan, cause, unknown) in [
        (Plan { tier: Some("platinum"), ..Plan::default() }, "the service class \"platinum\"", 4),
        (Plan { surcharges: &["mars"], ..Plan::default() }, "no surcharge \"mars\"", 4),
        (Plan { model: Some("unheard-of"), ..Plan::default() }, "no price of the model \"unheard-of\"", 4),
        (Plan { usage: Some(Usage { searches: 1, ..Usage::new(10, 5) }), ..Plan::default() }, "for searches", 4),
        (Plan { usage: None, ..Plan::default() }, "the vendor did not state", 3),
        (Plan { usage: Some(Usage::new(u64::MAX, 5)), ..Plan::default() }, "that no response can have taken", 3),
    ] {
        let ledger = ledger();
        let paid = receipt(&ledger, plan).paid();
        assert_eq!((paid.exact(), paid.at_least()), (None, Usd::ZERO), "{cause}");
        assert!(paid.to_string().starts_with("unknown (") && paid.to_string().contains(cause), "{paid}");
        let books = ledger.snapshot();
        let table = books.to_string();
        assert!(table.contains(&format!("responses 1: {}", paid.cause().unwrap())), "{table}");
        let total = table.lines().find(|line| line.starts_with("in all")).unwrap();
        assert_eq!(total.matches("unknown").count(), unknown, "{total}");
        assert!(books.balance().is_balanced());
    }
}

#[test]
fn unknown_cost_keeps_known_part() {
    let ledger = ledger();
    let provider = stack(&ledger, [Plan::default(), Plan { tier: Some("platinum"), ..Plan::default() }]);
    for _ in 0..2 {
        provider.chat(call("acme")).now_or_never().unwrap().unwrap();
    }
    let table = ledger.snapshot().to_string();
    let total = table.lines().find(|line| line.starts_with("in all")).unwrap();
    assert_eq!(total.matches("≥ $0.000020").count(), 3, "list, useful and paid: {total}");
}

#[test]
fn unknown_cost_names_missing_attempts_layer() {
    let ledger = ledger();
    let layers = ServiceBuilder::new().layer(ledger.requests()).service(into_service(Arc::new(Vendor::default())));
    let reply = into_provider(layers).chat(call("acme")).now_or_never().unwrap().unwrap();
    assert_eq!(reply.receipt.paid(), Amount::unknown(UnknownCost::NoAttemptsLayer));
    let table = ledger.snapshot().to_string();
    assert!(table.contains("unknown cost: attempts 0, responses 1: no layer prices attempts"), "{table}");
    assert!(!table.contains("unknown price"), "{table}");
}

#[test]
fn unknown_cost_of_unlisted_model_is_unbounded() {
    let ledger = ledger();
    let request = Call::new("acme", ChatRequest::new("my-deployment").user("is it safe?"));
    let _ = stack(&ledger, [Plan { head: Head::Hangs, ..Plan::default() }]).chat(request).now_or_never();
    let table = ledger.snapshot().to_string();
    assert!(table.contains(".alias(\"my-deployment\", "), "{table}");
    assert!(table.lines().any(|line| line.starts_with("in all") && line.ends_with("unknown")), "{table}");
}

#[test]
fn unknown_cost_of_absurd_usage_leaves_totals() {
    let absurd = [
        Usage::new(u64::MAX, 5),
        Usage::new(10, u64::MAX),
        Usage { searches: u64::MAX, ..Usage::new(10, 5) },
        Usage { cache_read: u64::MAX, ..Usage::new(10, 5) },
    ];
    for usage in absurd {
        let ledger = ledger();
        let plans = [Plan { usage: Some(usage), ..Plan::default() }, Plan::default(), Plan::default()];
        let provider = stack(&ledger, plans);
        for _ in 0..3 {
            provider.chat(call("acme")).now_or_never().unwrap().unwrap();
        }
        let books = ledger.snapshot();
        let row = books.total();
        assert!(books.balance().is_balanced(), "{books}");
        assert_eq!((row.paid, row.useful, row.list), (COST + COST, COST + COST, COST + COST));
        assert_eq!((row.usage, row.usage_paid), (Usage::new(20, 10), Usage::new(20, 10)));
        assert_eq!((row.unconfirmed.count, row.unpriced_responses), (1, 1), "its bound counts");
    }
}

#[test]
fn unknown_cost_causes_are_bounded() {
    let ledger = ledger();
    for n in 0..120 {
        let request = ChatRequest::new(format!("m{n}\n")).user("is it safe?");
        stack(&ledger, []).chat(Call::new("acme", request)).now_or_never().unwrap().unwrap();
    }
    let books = ledger.snapshot();
    assert_eq!(books.unknown_costs().map(|(_, attempts, responses)| attempts.min(responses)).sum::<u64>(), 100);
    let table = books.to_string();
    assert!(table.contains("attempts 20, responses 20: further causes"), "{table}");
    assert!(!table.contains("m1\n"), "names do not break lines");
}

#[test]
fn on_attempt_reports_unknown_cost_cause() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let ledger = ledger().on_attempt(move |attempt| sender.send(attempt.charged.clone()).unwrap());
    receipt(&ledger, Plan { tier: Some("platinum"), ..Plan::default() });
    assert!(matches!(receiver.recv(), Ok(Charged::Unpriced(UnknownCost::Tier { .. }))));
}
