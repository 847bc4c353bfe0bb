//! Tests of the probes with correct and incorrect callers.

use futures_util::{StreamExt, stream};
use llm_testkit::probe::{CountPolls, Probe, ProbeHandle};
use std::future::{Ready, pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tower::{Service, ServiceExt, service_fn};

type Received = Ready<Result<u32, &'static str>>;

fn probe() -> (Probe<impl Service<u32, Response = u32, Error = &'static str, Future = Received> + Clone>, ProbeHandle) {
    Probe::new(service_fn(|x: u32| ready(if x == 0 { Err("zero") } else { Ok(x) })))
}

#[tokio::test]
async fn probe_accepts_correct_caller() {
    let (mut service, handle) = probe();
    assert_eq!(service.ready().await.expect("ready").call(1).await, Ok(1));
    assert_eq!(service.clone().oneshot(0).await, Err("zero"));
    handle.assert_ready_contract();
    handle.assert_quiescent();
    let seen = handle.snapshot();
    assert_eq!((seen.calls, seen.succeeded, seen.failed, seen.clones, seen.most_in_flight), (2, 1, 1, 1, 1));
}

#[tokio::test]
async fn probe_clone_is_not_ready() {
    let (mut service, handle) = probe();
    service.ready().await.expect("ready");
    drop(service.clone().call(1));
    assert_eq!(handle.snapshot().unready_calls, 1);
    assert!(catch_unwind(AssertUnwindSafe(|| handle.assert_ready_contract())).is_err());
}

#[tokio::test]
async fn probe_readiness_serves_one_call() {
    let (mut service, handle) = probe();
    service.ready().await.expect("ready");
    drop((service.call(1), service.call(2)));
    assert_eq!(handle.snapshot().unready_calls, 1);
}

#[tokio::test]
async fn panicking_probe_panics_without_readiness() {
    let (service, _) = probe();
    let mut service = service.panicking();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(service.call(1)))).is_err());
    service.ready().await.expect("ready");
    assert_eq!(service.call(1).await, Ok(1));
}

#[tokio::test]
async fn probe_counts_dropped_futures() {
    let (mut service, handle) = Probe::new(service_fn(|(): ()| pending::<Result<(), ()>>()));
    let future = service.ready().await.expect("ready").call(());
    assert_eq!(handle.snapshot().in_flight, 1);
    assert!(catch_unwind(AssertUnwindSafe(|| handle.assert_quiescent())).is_err());
    drop(future);
    handle.assert_quiescent();
    assert_eq!(handle.snapshot().dropped_futures, 1);
    drop(service);
    assert_eq!(handle.snapshot().dropped_services, 1);
}

#[tokio::test]
async fn probe_unblock_restores_readiness() {
    let (mut service, handle) = probe();
    handle.block();
    let waiting = tokio::spawn(async move { service.ready().await.expect("ready").call(3).await });
    while handle.snapshot().ready_polls == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(handle.snapshot().calls, 0);
    handle.unblock();
    assert_eq!(waiting.await.expect("no panic"), Ok(3));
    assert_eq!(handle.snapshot().ready_polls, 2);
}

#[tokio::test]
async fn count_polls_counts_stream_polls() {
    let polls = Arc::new(AtomicU64::new(0));
    let items: Vec<_> = CountPolls::new(stream::iter([1, 2, 3]), polls.clone()).collect().await;
    assert_eq!(items, [1, 2, 3]);
    assert_eq!(polls.load(Ordering::Relaxed), 4);
}
