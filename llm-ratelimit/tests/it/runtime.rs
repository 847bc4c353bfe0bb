//! Tests of use outside of a tokio runtime, and inside of one without timers.

use std::time::Duration;

use futures_util::FutureExt;
use llm_core::{Call, ChatRequest, into_provider};
use llm_providers::scripted::Scripted;
use llm_ratelimit::{
    BalancePersister, Form, Limiter, NoRuntime, RateLimitLayer, Reason, Refusal, Store, Waiting, Webhook,
};
use tower_layer::Layer;

use crate::support::{AtOnce, ask, limits, noon};

/// Runs a check without a runtime, and in a runtime without timers.
fn without_timers(check: impl Fn(&str)) {
    check("no runtime");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime needs nothing");
    runtime.block_on(async { check("no timers") });
}

fn waiting() -> Limiter {
    limits(["1 concurrent", "100/day"])
        .clock(noon())
        .waiting(Waiting::at_most(Duration::from_secs(1)))
        .build()
        .expect("the limits are right")
}

#[test]
fn close_without_timers_returns_an_error() {
    without_timers(|place| {
        let limiter = waiting();
        assert_eq!(limiter.close().now_or_never(), Some(Err(NoRuntime)), "{place}");
        drop(limiter.try_reserve(&ask("a")).expect("it is still open"));
    });
}

#[test]
fn reserve_without_timers_refuses_only_waiting() {
    without_timers(|place| {
        let limiter = waiting();
        let held = limiter.reserve(&ask("a")).now_or_never().expect("there is room").expect("there is room");
        let refused = limiter.reserve(&ask("a")).now_or_never().expect("it does not wait").expect_err(place);
        assert_eq!(refused.reason(), Reason::NoRuntime);
        assert!(refused.to_string().contains("tokio runtime"), "{refused}");
        drop(held);
        assert_eq!(
            (limiter.stats().waiting, limiter.usage("a").at_once().iter().all(|s| s.reserved == 0)),
            (0, true),
            "{place}"
        );
    });
}

#[test]
fn layer_without_timers_refuses_only_waiting() {
    without_timers(|place| {
        let limiter = waiting();
        let layer = RateLimitLayer::new(limiter.clone());
        let persister = BalancePersister::builder(Store::memory()).start(&limiter).unwrap();
        let durable = into_provider(layer.clone().durable_reservations(&persister).layer(Scripted::new()));
        let provider = into_provider(layer.layer(Scripted::new()));
        let call = || Call::new("a", ChatRequest::new("m").user("x"));
        provider.chat(call()).now_or_never().expect("nothing waits").expect(place);
        let held = limiter.try_reserve(&ask("a")).unwrap();
        let waits = provider.chat(call()).now_or_never().expect("nothing waits").expect_err(place);
        drop(held);
        let records = durable.chat(call()).now_or_never().expect("nothing waits").expect_err(place);
        for refused in [waits, records] {
            assert_eq!(Refusal::of(&refused).map(Refusal::reason), Some(Reason::NoRuntime), "{place}: {refused}");
        }
    });
}

#[test]
fn webhook_without_timers_returns_an_error() {
    without_timers(|place| {
        let webhook = Webhook::spawn(Form::Slack, |_| async { true });
        assert_eq!(webhook.err(), Some(NoRuntime), "{place}");
    });
}
