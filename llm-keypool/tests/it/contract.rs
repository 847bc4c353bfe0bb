//! Tests of the pool as a tower service, and of members that change.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use llm_core::{
    Call, Charge, ChatRequest, Error, ErrorKind, into_service,
    layer::{AttemptPermit, MemberId, NestedRetry, oneshot},
};
use llm_keypool::{KeyPool, LeaseRequest, Member, Outcome};
use llm_providers::scripted::{Rule, Scripted};
use llm_testkit::probe::Probe;

use crate::{
    support::{pool, reset, run_calls, status},
    vendor::{Headers, Vendor},
};

fn call() -> Call<ChatRequest> {
    Call::new("acme", ChatRequest::new("gpt-4o").user("hello"))
}

#[tokio::test(start_paused = true)]
async fn pool_waits_for_own_clones_readiness() {
    let (probe, handle) = Probe::new(into_service(Arc::new(Scripted::new())));
    let pool = KeyPool::builder().member(Member::new("a", probe)).build().unwrap();
    for _ in 0..3 {
        let reply = oneshot(pool.clone(), call()).await.unwrap();
        assert_eq!(reply.extensions.get::<MemberId>().map(MemberId::as_str), Some("a"));
    }
    handle.assert_ready_contract();
    handle.assert_quiescent();
    assert_eq!(handle.snapshot().calls, 3);
}

#[tokio::test(start_paused = true)]
async fn nested_retry_moves_and_does_not_retry() {
    let failing = |error: Error| Scripted::new().rule(Rule::fail(error));
    for (error, expected) in [(status(401), None), (status(500), Some(ErrorKind::Server))] {
        let members = [Member::new("a", failing(error)), Member::new("b", Scripted::new()).tier(1)];
        let pool = KeyPool::builder().members(members).build().unwrap();
        let mut nested = call();
        nested.extensions.insert(NestedRetry);
        let outcome = oneshot(pool.clone(), nested).await;
        assert_eq!(outcome.err().map(|error| error.kind()), expected);
        assert!(oneshot(pool, call()).await.is_ok(), "without a layer above it retries");
    }
}

#[tokio::test(start_paused = true)]
async fn attempt_permit_refuses_moves_and_retries() {
    for error in [status(401), status(429), status(500), reset()] {
        let charge = error.charge();
        let members = [
            Member::new("a", Scripted::new().rule(Rule::fail(error.clone()))),
            Member::new("b", Scripted::new()).tier(1),
        ];
        let pool = KeyPool::builder().members(members).build().unwrap();
        let mut call = call();
        call.extensions.insert(AttemptPermit::new(move |failed: Error| {
            assert_eq!(failed.charge(), charge);
            std::future::ready(Err(Error::new(ErrorKind::OverBudget, "no room")))
        }));
        let refused = oneshot(pool, call).await.unwrap_err();
        let kind = if error.kind() == ErrorKind::Authentication { ErrorKind::Unavailable } else { error.kind() };
        assert_eq!(refused.kind(), kind, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_charged_off_returns_charged_failures() {
    let charged = || Error::new(ErrorKind::Server, "failed").with_charge(Charge::Unknown);
    for (on, served) in [(true, true), (false, false)] {
        let members =
            [Member::new("a", Scripted::new().rule(Rule::fail(charged()))), Member::new("b", Scripted::new()).tier(1)];
        let pool = KeyPool::builder().members(members).retry_charged(on).build().unwrap();
        assert_eq!(oneshot(pool, call()).await.is_ok(), served);
    }
}

#[tokio::test(start_paused = true)]
async fn replace_while_running_serves_all_calls() {
    let vendor = Vendor::new((100, 900), Headers::None);
    let key = |name: &'static str| Member::new(name, vendor.key(name, name, None));
    let pool = pool(["a", "b"].map(|name| vendor.key(name, name, None))).build().unwrap();
    let calls = run_calls(&pool, 200, Duration::from_millis(20));
    let replace = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        pool.replace([key("b"), key("c")]).unwrap();
    };
    let (failed, ()) = tokio::join!(calls, replace);
    assert!(failed.is_empty(), "{failed:?}");
    let late = |name| vendor.attempts(name).iter().filter(|at| **at > Duration::from_secs(2)).count();
    assert!(late("a") == 0 && late("b") > 20 && late("c") > 20, "{} {} {}", late("a"), late("b"), late("c"));
    let status = pool.status();
    assert!(status.members.iter().all(|member| member.in_flight == 0), "{status:?}");
    assert!(pool.replace([]).is_err());
}

#[tokio::test(start_paused = true)]
async fn unreachable_vendor_pauses_pool() {
    let vendor = Vendor::new((1, 5), Headers::None);
    let pool = pool(["a", "b", "c"].map(|name| vendor.key(name, name, None))).build().unwrap();
    let back = Duration::from_secs(20);
    for name in ["a", "b", "c"] {
        vendor.fault(name, move |at| Some(reset()).filter(|_| at < back));
    }
    let failed = run_calls(&pool, 1_000, Duration::from_millis(50)).await;
    let attempts = |from: Duration, to: Duration| {
        let all = ["a", "b", "c"].iter().flat_map(|name| vendor.attempts(name));
        all.filter(|at| (from..to).contains(at)).count()
    };
    assert!(attempts(Duration::ZERO, back) <= 20, "{}", attempts(Duration::ZERO, back));
    // The failed calls are those that were probes, until the retry budget was empty.
    assert!(failed.len() <= 30, "{}", failed.len());
    let next_pause = back + Duration::from_secs(17);
    assert!(attempts(back, next_pause) > 300, "{}", attempts(back, next_pause));
}

#[tokio::test(start_paused = true)]
async fn verdict_function_replaces_meaning() {
    let vendor = Vendor::new((1, 5), Headers::None);
    let keys = ["a", "b"].map(|name| vendor.key(name, name, None));
    let exhausted = |error: &Error| (error.status() == Some(418)).then_some(llm_keypool::Verdict::Unpaid);
    let pool = pool(keys).verdict(exhausted).build().unwrap();
    vendor.fault("a", |_| Outcome::status(418, None).error().cloned());
    assert!(run_calls(&pool, 50, Duration::from_millis(20)).await.is_empty());
    assert_eq!(vendor.attempts("a").len(), 1);
}

/// Calls that hang stay counted at members of the same names, even if a name was removed and added again.
#[tokio::test(start_paused = true)]
async fn replace_keeps_attempts_in_flight() {
    let members = |names: &'static [&'static str]| names.iter().map(|name| Member::new(*name, *name).max_in_flight(1));
    let pool = KeyPool::builder().members(members(&["a", "b"])).build().unwrap();
    let request = LeaseRequest::new("m");
    let hanging: Vec<_> = (0..2).map(|_| pool.try_lease(&request).unwrap()).collect();
    pool.replace(members(&["a", "b"])).unwrap();
    assert!(pool.try_lease(&request).is_err(), "both are busy");
    pool.replace(members(&["c"])).unwrap();
    assert_eq!(*pool.try_lease(&request).unwrap().key(), "c");
    pool.replace(members(&["a", "b", "c"])).unwrap();
    drop(hanging);
    let status = pool.status();
    assert!(status.members.len() == 3 && status.members.iter().all(|member| member.in_flight == 0), "{status:?}");
    assert!(!pool.reset("d") && !pool.enable("d") && !pool.disable_for("d", Duration::MAX));
}

#[test]
fn pool_is_shared_by_two_runtimes() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let pool = KeyPool::builder().member(Member::new("a", ()).max_in_flight(1)).build().unwrap();
    let held = runtime().block_on(pool.lease(&LeaseRequest::new("m"))).unwrap();
    let other = pool.clone();
    let waiting = std::thread::spawn(move || {
        runtime().block_on(async { other.lease(&LeaseRequest::new("m")).await.map(|lease| lease.member().to_owned()) })
    });
    while pool.status().waiting == 0 {
        std::thread::yield_now();
    }
    held.report(Outcome::success());
    assert_eq!(waiting.join().unwrap().unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn model_that_no_member_serves_is_unavailable() {
    let members = [
        Member::new("a", ()).serves(["m"]),
        Member::new("b", ()).tier(1).stands_in("m", "n"),
        Member::new("c", ()).tier(2).stands_in("n", "o"),
    ];
    let pool = KeyPool::builder().members(members).build().unwrap();
    let served = |model: &str| pool.lease(&LeaseRequest::new(model)).now_or_never().unwrap();
    let error = served("x").unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.message().contains("no member serves"), "{error}");
    assert!(pool.disable_for("a", Duration::from_secs(60)));
    assert_eq!(served("m").unwrap().model(), Some("n"));
    assert!(pool.disable_for("b", Duration::from_secs(60)));
    // Fallbacks do not form a chain: `c` answers for `n`, but not for the models that `n` answers for.
    assert_eq!(served("m").unwrap_err().kind(), ErrorKind::RateLimited);
}
