//! Tests of the cost of an attempt, by its end.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt};
use llm_core::{
    Charge, ChatRequest, Error, ErrorKind, Usage, Usd, into_provider, into_service,
    layer::{Accounting, MemberId},
};
use llm_providers::ledger::{Charged, Outcome, Row, Waste};

use super::vendor::{COST, Head, Plan, Tail, Vendor, bound, call, ledger, stack};

fn failure(charge: Charge) -> Error {
    Error::new(ErrorKind::Server, "it broke").with_charge(charge)
}

/// Makes one call, drops it if it hangs, and returns the totals of the ledger.
async fn unary(plan: Plan) -> Row {
    let ledger = ledger();
    let _ = stack(&ledger, [plan]).chat(call("acme")).now_or_never();
    even(&ledger)
}

/// Does the same with a stream, which is read until it ends or hangs.
async fn streamed(plan: Plan) -> Row {
    let ledger = ledger();
    if let Some(Ok(mut reply)) = stack(&ledger, [plan]).chat_stream(call("acme")).now_or_never() {
        while let Some(Some(_)) = reply.output.next().now_or_never() {}
    }
    even(&ledger)
}

fn even(ledger: &llm_providers::Ledger) -> Row {
    let books = ledger.snapshot();
    assert!(books.balance().is_balanced(), "{books}");
    assert_eq!(books.tenant("acme"), Some(books.total()));
    assert_eq!(books.model("m"), Some(books.total()));
    books.total().clone()
}

fn nothing_spent(row: &Row) -> bool {
    row.paid.is_zero() && row.unconfirmed.count == 0 && row.attempts == 1
}

#[tokio::test]
async fn attempts_unpolled_call_costs_nothing() {
    let ledger = ledger();
    let inner = into_service(Arc::new(Vendor::default()));
    let mut stack =
        tower::ServiceBuilder::new().layer(ledger.requests()).layer(ledger.attempts()).service(inner.clone());
    drop(tower::Service::call(&mut stack, call("acme")));
    let row = ledger.snapshot().total().clone();
    assert_eq!((row.calls, row.dropped, row.attempts), (1, 1, 0));

    let mut stack = tower::ServiceBuilder::new().layer(ledger.attempts()).service(inner);
    drop(tower::Service::call(&mut stack, call("acme")));
    assert!(nothing_spent(&even(&ledger)));
}

#[tokio::test]
async fn attempts_abandoned_before_sending_costs_nothing() {
    let row = unary(Plan { sent: false, head: Head::Hangs, ..Plan::default() }).await;
    assert!(nothing_spent(&row));
    assert_eq!((row.calls, row.dropped, row.failed), (1, 1, 0));
}

#[tokio::test]
async fn attempts_abandoned_after_sending_is_unconfirmed() {
    for row in [
        unary(Plan { head: Head::Hangs, ..Plan::default() }).await,
        streamed(Plan { head: Head::Hangs, ..Plan::default() }).await,
        streamed(Plan { tail: Tail::Hangs, usage: None, ..Plan::default() }).await,
    ] {
        assert_eq!((row.unconfirmed.count, row.unconfirmed.amount), (1, bound()));
        assert_eq!((row.dropped, row.paid), (1, Usd::ZERO));
    }
    assert!(bound() >= COST);
}

#[tokio::test]
async fn attempts_error_costs_its_charge() {
    let fail = |charge, sent| Plan { sent, head: Head::Fails(failure(charge)), ..Plan::default() };
    for refused in [fail(Charge::None, true), fail(Charge::None, false), fail(Charge::Unknown, false)] {
        let row = unary(refused).await;
        assert!(nothing_spent(&row));
        assert_eq!((row.calls, row.failed), (1, 1));
    }
    let row = unary(fail(Charge::Unknown, true)).await;
    assert_eq!((row.unconfirmed.count, row.unconfirmed.amount), (1, bound()));
    let row = unary(fail(Charge::Known(Usage::new(10, 5)), true)).await;
    assert_eq!((row.paid, row.wasted.of(Waste::Failed), row.failed), (COST, COST, 1));
    assert_eq!(row.usage_paid, Usage::new(10, 5));
}

/// If the layer is above a layer that retries, the error contains several attempts.
#[tokio::test]
async fn attempts_failed_cost_each_models_price() {
    let failed = |model: &str| {
        let mut accounting = Accounting::default();
        accounting.model = Some(model.into());
        failure(Charge::Known(Usage::new(42, 30))).with_accounting(accounting)
    };
    let error = failed("gpt-4o").with_earlier_attempts(&failed("gpt-4o-mini"));
    let ledger = llm_providers::Ledger::new(llm_providers::prices::openai());
    let plan = Plan { sent: true, head: Head::Fails(error), ..Plan::default() };
    let _ = stack(&ledger, [plan]).chat(call("acme")).now_or_never();
    let row = ledger.snapshot().total().clone();
    assert_eq!((row.paid, row.wasted.of(Waste::Failed)), (Usd::from_nanos(429_300), Usd::from_nanos(429_300)));
    assert_eq!((row.attempts, row.usage_paid), (1, Usage::new(84, 60)));
}

#[tokio::test]
async fn attempts_complete_response_is_useful() {
    for row in [unary(Plan::default()).await, streamed(Plan::default()).await] {
        assert_eq!((row.paid, row.used, row.useful, row.list), (COST, COST, COST, COST));
        assert_eq!((row.calls, row.completed, row.vendor, row.attempts), (1, 1, 1, 1));
        assert_eq!((row.usage, row.usage_paid), (Usage::new(10, 5), Usage::new(10, 5)));
    }
}

#[tokio::test]
async fn attempts_response_without_usage_is_unconfirmed() {
    for row in [
        unary(Plan { usage: None, ..Plan::default() }).await,
        streamed(Plan { usage: None, sent: false, ..Plan::default() }).await,
    ] {
        assert_eq!((row.unconfirmed.count, row.unconfirmed.amount), (1, bound()));
        assert_eq!((row.unpriced_responses, row.list, row.paid), (1, Usd::ZERO, Usd::ZERO));
    }
}

#[tokio::test]
async fn attempts_broken_stream_with_usage_is_wasted() {
    let fails = |charge| Tail::Fails(failure(charge));
    let row = streamed(Plan { tail: fails(Charge::Unknown), ..Plan::default() }).await;
    assert_eq!((row.paid, row.wasted.of(Waste::Failed), row.failed), (COST, COST, 1));
    let known = fails(Charge::Known(Usage::new(10, 5)));
    let row = streamed(Plan { tail: known, usage: None, ..Plan::default() }).await;
    assert_eq!((row.paid, row.wasted.of(Waste::Failed)), (COST, COST));
    let row = streamed(Plan { tail: Tail::Hangs, ..Plan::default() }).await;
    assert_eq!((row.paid, row.wasted.of(Waste::Abandoned), row.dropped), (COST, COST, 1));
}

#[tokio::test]
async fn attempts_broken_stream_without_usage_is_unconfirmed() {
    // After content has arrived, `None` can only be the default of a layer that cut the stream off.
    for charge in [Charge::None, Charge::Unknown] {
        let tail = Tail::Fails(failure(charge));
        let row = streamed(Plan { tail, usage: None, ..Plan::default() }).await;
        assert_eq!((row.unconfirmed.count, row.unconfirmed.amount, row.failed), (1, bound(), 1));
    }
}

#[tokio::test]
async fn attempts_without_price_are_counted_apart() {
    let tier = |tier| Plan { tier: Some(tier), ..Plan::default() };
    let model = |model| Plan { model: Some(model), ..Plan::default() };
    for plan in [tier("flex"), tier("priority"), model("other"), model("m-2020-01-01"), model("mm")] {
        let row = unary(plan.clone()).await;
        assert_eq!((row.unpriced_attempts, row.unpriced_responses), (1, 1), "{plan:?}");
        assert_eq!((row.paid, row.list, row.unconfirmed.count), (Usd::ZERO, Usd::ZERO, 0), "{plan:?}");
        assert_eq!(row.usage_paid, Usage::new(10, 5));
    }
    for plan in [tier("default"), tier("standard"), tier("auto"), model("m"), model("m-2021-01-01"), model("m-v2")] {
        assert_eq!(unary(plan).await.paid, COST);
    }
}

#[tokio::test]
async fn attempts_abandoned_unknown_model_has_no_bound() {
    let ledger = ledger();
    let call = llm_core::Call::new("acme", ChatRequest::new("unheard-of").user("?"));
    let _ = stack(&ledger, [Plan { head: Head::Hangs, ..Plan::default() }]).chat(call).now_or_never();
    let row = ledger.snapshot().total().clone();
    assert_eq!((row.unconfirmed.count, row.unconfirmed.unpriced, row.unconfirmed.amount), (1, 1, Usd::ZERO));
}

#[tokio::test]
async fn on_attempt_reports_each_attempt_once() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let ledger = ledger().on_attempt(move |attempt| kept.lock().unwrap().push(attempt.clone()));
    let refused = failure(Charge::None).with_request_id("r2");
    let provider = stack(
        &ledger,
        [
            Plan { request_id: Some("r1"), model: Some("m-2021-01-01"), ..Plan::default() },
            Plan { head: Head::Fails(refused), ..Plan::default() },
            Plan { head: Head::Hangs, ..Plan::default() },
        ],
    );
    for _ in 0..3 {
        let _ = provider.chat(call("acme").with_label("feature", "x").unwrap()).now_or_never();
    }
    let seen = seen.lock().unwrap();
    let stated: Vec<_> = seen.iter().map(|p| (p.request_id.as_deref(), p.outcome, p.charged.clone())).collect();
    assert_eq!(
        stated,
        [
            (Some("r1"), Outcome::Complete, Charged::Paid(COST)),
            (Some("r2"), Outcome::Failed, Charged::Nothing),
            (None, Outcome::Abandoned, Charged::Unconfirmed(Some(bound()))),
        ]
    );
    assert_eq!((&*seen[0].model, seen[0].response_model.as_deref()), ("m", Some("m-2021-01-01")));
    assert_eq!((seen[0].labels.get("feature"), seen[0].usage), (Some("x"), Some(Usage::new(10, 5))));
}

/// This applies to every outcome. The member is stored in the call, because a dropped attempt has no reply.
#[tokio::test]
async fn attempts_record_member_of_call() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let ledger =
        ledger().on_attempt(move |attempt| kept.lock().unwrap().push((attempt.outcome, attempt.member.clone())));
    let plans = || {
        [Head::Responses, Head::Fails(failure(Charge::Unknown)), Head::Hangs]
            .map(|head| Plan { head, ..Plan::default() })
    };
    let provider = stack(&ledger, plans().into_iter().chain(plans()));
    let member = |name| Some(MemberId::from(name));
    for member in [member("openai-eu"), None] {
        for _ in 0..3 {
            let mut call = call("acme");
            member.clone().map(|member| call.extensions.insert(member));
            let _ = provider.chat(call).now_or_never();
        }
    }
    let outcomes = [Outcome::Complete, Outcome::Failed, Outcome::Abandoned];
    let expected: Vec<_> = [member("openai-eu"), None]
        .iter()
        .flat_map(|member| outcomes.map(|outcome| (outcome, member.clone())))
        .collect();
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn attempts_timeout_above_is_unconfirmed() {
    let ledger = ledger();
    let vendor = Vendor::default();
    vendor.0.lock().unwrap().push_back(Plan { head: Head::Hangs, ..Plan::default() });
    let stack = tower::ServiceBuilder::new()
        .layer(ledger.requests())
        .timeout(Duration::from_secs(1))
        .layer(ledger.attempts())
        .service(into_service(Arc::new(vendor)));
    assert!(into_provider(stack).chat(call("acme")).await.is_err());
    let row = even(&ledger);
    assert_eq!((row.failed, row.dropped, row.unconfirmed.count), (1, 0, 1));
}
