//! Tests of calls that are dropped at each of their await points.

use std::{future::Future, panic::AssertUnwindSafe, pin::pin, task::Poll, time::Duration};

use futures_util::FutureExt;
use llm_core::{Call, ChatRequest, layer::oneshot};
use llm_keypool::{Group, KeyPool, LeaseRequest, Member, Outcome, requests_per_minute};

use crate::{
    support::{pool, reset, status},
    vendor::{Headers, Key, Vendor},
};

/// Polls a future a number of times, and lets time pass in between. Returns `true` if the future ended.
async fn poll_times(future: impl Future, polls: usize) -> bool {
    let mut future = pin!(future);
    for _ in 0..polls {
        let polled = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        if polled {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    false
}

fn check_idle(pool: &KeyPool<Key>) {
    let status = pool.status();
    assert!(status.members.iter().all(|member| member.in_flight == 0), "{status:?}");
    assert!(status.groups.iter().all(|group| group.in_flight == 0) && status.waiting == 0, "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn dropped_call_leaves_nothing_behind() {
    for polls in 1..12 {
        let vendor = Vendor::new((300, 900), Headers::None);
        let keys = ["a", "b"].map(|name| vendor.key(name, name, None));
        let groups = ["a", "b"].map(|name| Group::new(name).limit("gpt-4o", requests_per_minute(2)));
        let builder = groups.into_iter().fold(pool(keys), |builder, group| builder.group(group));
        let pool = builder.max_wait(Duration::from_secs(90)).build().unwrap();
        vendor.fault("a", |at| Some(if at.as_millis() % 2 == 0 { status(429) } else { reset() }));
        for _ in 0..6 {
            let call = Call::new("t", ChatRequest::new("gpt-4o").user("hello"));
            poll_times(oneshot(pool.clone(), call), polls).await;
        }
        check_idle(&pool);
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_first_call_returns_its_turn() {
    let vendor = Vendor::new((300, 900), Headers::None);
    let budget = llm_core::layer::RetryBudget::new(0, 0);
    let pool = pool([vendor.key("a", "a", None)]).retry_budget(budget).build().unwrap();
    vendor.fault("a", |at| Some(reset()).filter(|_| at < Duration::from_secs(6)));
    let call = || oneshot(pool.clone(), Call::new("t", ChatRequest::new("gpt-4o").user("hello")));
    while pool.status().members[0].parked.is_empty() {
        call().await.unwrap_err();
    }
    tokio::time::sleep(Duration::from_secs(8)).await;
    // The probe is dropped while the vendor serves it.
    assert!(!poll_times(call(), 1).await);
    check_idle(&pool);
    // Another call may become the probe at once, not after a minute.
    let start = tokio::time::Instant::now();
    call().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1) && pool.status().members[0].parked.is_empty());
}

/// If a client or a function of the application panics, only its own call ends.
#[tokio::test(start_paused = true)]
async fn panic_of_attempt_leaves_nothing_behind() {
    let pool = KeyPool::builder().member(Member::new("a", ()).max_in_flight(1)).build().unwrap();
    let request = LeaseRequest::new("m");
    pool.try_lease(&request).unwrap().report(Outcome::status(429, Some(Duration::from_secs(2))));
    tokio::time::sleep(Duration::from_secs(2)).await;
    for is_late in [true, false] {
        let attempt = async |()| -> Result<(), Outcome> {
            if is_late {
                tokio::task::yield_now().await;
            }
            panic!("a client's fault")
        };
        let call = AssertUnwindSafe(pool.run(&request, attempt)).catch_unwind();
        assert!(call.await.is_err());
    }
    // The slot is free, and another call may become the probe.
    assert_eq!(pool.status().members[0].in_flight, 0);
    pool.try_lease(&request).unwrap().report(Outcome::success());
    assert!(pool.status().groups[0].parked.is_empty());
}
