//! Tests of pools in which no member can take a call.

use std::{task::Poll, time::Duration};

use llm_core::{
    Call, ChatRequest, Error, ErrorKind, Priority,
    layer::{Pinned, RetryBudget, oneshot},
};
use llm_keypool::{Group, KeyPool, LeaseRequest, Member, Outcome, requests_per_minute};
use llm_providers::scripted::Scripted;
use tokio::time::Instant;

use crate::{
    support::{pool, run_calls, status},
    vendor::{Headers, Key, Vendor},
};

const SECOND: Duration = Duration::from_secs(1);

fn keys(vendor: &Vendor) -> [Key; 3] {
    ["a", "b", "c"].map(|name| vendor.key(name, name, None))
}

#[tokio::test(start_paused = true)]
async fn unavailable_counts_reasons_of_rejected_keys() {
    let vendor = Vendor::new((1, 5), Headers::None);
    let pool = pool(keys(&vendor)).build().unwrap();
    for name in ["a", "b", "c"] {
        vendor.fault(name, |_| Some(status(401)));
    }
    let failed = run_calls(&pool, 1, SECOND).await;
    let now = Instant::now();
    let failed: Vec<_> = failed.into_iter().chain(run_calls(&pool, 1, Duration::ZERO).await).collect();
    assert_eq!(now.elapsed(), Duration::ZERO, "at once");
    for error in &failed {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.message().contains("3 unauthorized (a, b, c)"), "{error}");
    }
    assert_eq!(failed.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn common_cause_sends_one_attempt_per_pause() {
    let vendor = Vendor::new((1, 5), Headers::None);
    let pool = pool(keys(&vendor)).max_wait(Duration::from_secs(300)).build().unwrap();
    let heals = Duration::from_secs(100);
    for name in ["a", "b", "c"] {
        vendor.fault(name, move |at| Some(status(429)).filter(|_| at < heals));
    }
    let failed = run_calls(&pool, 2_000, Duration::from_millis(100)).await;
    assert!(failed.is_empty(), "{} {:?}", failed.len(), failed.first());
    let mut attempts: Vec<_> = ["a", "b", "c"].iter().flat_map(|name| vendor.attempts(name)).collect();
    attempts.sort();
    let during: Vec<_> = attempts.iter().filter(|at| **at < heals).collect();
    // Some attempts are sent until the cause is known, and then one after 1, 2, 4, … 60 s.
    let gaps: Vec<_> = during.windows(2).map(|pair| *pair[1] - *pair[0]).filter(|gap| *gap > SECOND / 2).collect();
    assert!(during.len() <= 6 + gaps.len(), "{during:?}");
    assert!(gaps.windows(2).all(|pair| pair[1] >= pair[0]), "{gaps:?}");
    let back = attempts.iter().find(|at| **at >= heals).unwrap();
    assert!(*back <= heals + *gaps.last().unwrap() * 2, "{back:?} {gaps:?}");
    assert!(attempts.last().unwrap() < &Duration::from_secs(215), "all are served soon: {:?}", attempts.last());
}

/// Refusals at two of three groups pause the pool, until the third group serves an attempt that was sent after them.
#[tokio::test(start_paused = true)]
async fn common_cause_ends_with_served_attempt() {
    for (first, is_paused) in [("c", true), ("a", false)] {
        let members = ["a", "b", "c"].map(|name| Member::new(name, name));
        let pool = KeyPool::builder().members(members).seed(7).build().unwrap();
        let lease = |name| pool.try_lease(&LeaseRequest::new("m").pinned(Pinned::to(name))).unwrap();
        let names = if first == "c" { ["c", "a", "b"] } else { ["a", "b", "c"] };
        let mut leases = names.map(|name| (name, lease(name)));
        leases.sort_by_key(|(name, _)| *name);
        let [(_, a), (_, b), (_, c)] = leases;
        a.report(Outcome::status(429, None));
        b.report(Outcome::status(429, None));
        assert!(pool.status().is_paused);
        c.report(Outcome::success());
        assert_eq!(pool.status().is_paused, is_paused, "{first} was sent first");
    }
}

/// The usage before an outage is not taken for a limit that was reached, because a part of it has left the window after
/// the pause.
#[tokio::test(start_paused = true)]
async fn common_cause_tests_once_per_pause() {
    for latency in [(1, 5), (200, 1_000)] {
        let vendor = Vendor::new(latency, Headers::None);
        let pool = pool(keys(&vendor)).max_wait(Duration::from_secs(300)).build().unwrap();
        let (begins, heals) = (70 * SECOND, 110 * SECOND);
        for name in ["a", "b", "c"] {
            vendor.fault(name, move |at| Some(status(429)).filter(|_| (begins..heals).contains(&at)));
        }
        let failed = run_calls(&pool, 4_000, Duration::from_millis(40)).await;
        assert!(failed.is_empty(), "{} {:?}", failed.len(), failed.first());
        let mut attempts: Vec<_> = ["a", "b", "c"].iter().flat_map(|name| vendor.attempts(name)).collect();
        attempts.sort();
        // The attempts that were in flight when the cause was recognised, and then one after each pause of 1, 2, 4, … s
        // and its response.
        let tests = attempts.iter().filter(|at| (begins + SECOND..heals).contains(*at));
        let tests: Vec<_> = [begins].iter().chain(tests).copied().collect();
        let gaps: Vec<_> = tests.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.len() >= 4 && gaps.iter().zip(0..).all(|(gap, step)| *gap >= SECOND * (1 << step)), "{gaps:?}");
        let back = attempts.iter().find(|at| **at >= heals).unwrap();
        assert!(*back <= tests[tests.len() - 1] + gaps[gaps.len() - 1] * 5 / 2, "{back:?} {tests:?}");
        assert!(!pool.status().is_paused && attempts.last().unwrap() < &(165 * SECOND), "{:?}", attempts.last());
    }
}

#[tokio::test(start_paused = true)]
async fn retry_budget_bounds_attempts_in_outage() {
    let vendor = Vendor::new((1, 5), Headers::None);
    let pool = pool(keys(&vendor)).build().unwrap();
    for name in ["a", "b", "c"] {
        vendor.fault(name, |_| Some(status(500)));
    }
    let calls = 3_000;
    let failed = run_calls(&pool, calls, Duration::from_millis(20)).await;
    assert_eq!(failed.len(), calls as usize);
    let attempts: usize = ["a", "b", "c"].iter().map(|name| vendor.attempts(name).len()).sum();
    assert!(attempts <= 3_310, "{attempts}");
}

#[tokio::test(start_paused = true)]
async fn moves_reach_third_key_in_outage() {
    for code in [401, 429] {
        let vendor = Vendor::new((1, 5), Headers::None);
        let pool = pool(keys(&vendor)).retry_budget(RetryBudget::new(0, 0)).build().unwrap();
        for name in ["a", "b"] {
            vendor.fault(name, move |_| Some(status(code)));
        }
        let failed = run_calls(&pool, 3_000, Duration::from_millis(20)).await;
        assert!(failed.is_empty(), "{code} {} {:?}", failed.len(), failed.first());
        assert_eq!(vendor.attempts("c").len(), 3_000, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_calls_keep_order_of_arrival() {
    let limit = Group::new("a").limit("m", requests_per_minute(10));
    let pool = KeyPool::builder().member(Member::new("a", "key")).group(limit).max_wait(200 * SECOND).build().unwrap();
    let mut order = tokio::task::JoinSet::new();
    let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
    for call in 0..30 {
        let (pool, sender) = (pool.clone(), sender.clone());
        let priority = if call % 3 == 0 { Priority::Background } else { Priority::Interactive };
        order.spawn(async move {
            let lease = pool.lease(&LeaseRequest::new("m").priority(priority)).await.unwrap();
            sender.send((priority, call)).unwrap();
            lease.report(Outcome::success());
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Another model has room of its own.
    assert!(pool.try_lease(&LeaseRequest::new("n")).is_ok());
    order.join_all().await;
    drop(sender);
    let mut all = Vec::new();
    while let Some(one) = served.recv().await {
        all.push(one);
    }
    let waited = &all[10..];
    let sorted = |priority| waited.iter().filter(|one| one.0 == priority).is_sorted();
    assert!(sorted(Priority::Interactive) && sorted(Priority::Background), "{waited:?}");
    assert!(waited.iter().map(|one| one.0).is_sorted_by(|one, next| one >= next), "{waited:?}");
}

/// Background calls get one turn in sixteen, whether interactive calls already wait or arrive later.
#[tokio::test(start_paused = true)]
async fn background_call_is_not_starved() {
    for waits in [true, false] {
        let pool = KeyPool::builder().member(Member::new("a", "key").max_in_flight(1)).build().unwrap();
        let held = pool.lease(&LeaseRequest::new("m")).await.unwrap();
        let background = LeaseRequest::new("m").priority(Priority::Background);
        let mut background = tokio_test::task::spawn(pool.lease(&background));
        assert!(background.poll().is_pending());
        let request = LeaseRequest::new("m");
        let waiting = (0..if waits { 40 } else { 0 }).map(|_| tokio_test::task::spawn(pool.lease(&request)));
        let mut waiting: Vec<_> = waiting.collect();
        waiting.iter_mut().for_each(|waiting| assert!(waiting.poll().is_pending()));
        drop(held);
        let mut interactive = 0;
        loop {
            let served = match waiting.get_mut(interactive) {
                Some(first) => matches!(first.poll(), Poll::Ready(Ok(_))),
                None => pool.try_lease(&request).map(|lease| lease.report(Outcome::success())).is_ok(),
            };
            if !served {
                break;
            }
            interactive += 1;
        }
        assert_eq!((interactive, background.poll().is_ready()), (15, true), "waiting: {waits}");
    }
}

#[tokio::test(start_paused = true)]
async fn limited_call_fails_if_return_late() {
    let limit = Group::new("a").limit("m", requests_per_minute(1));
    let pool = KeyPool::builder().member(Member::new("a", "key")).group(limit).build().unwrap();
    let request = LeaseRequest::new("m");
    drop(pool.lease(&request).await.unwrap());
    let start = Instant::now();
    let error = pool.lease(&request).await.unwrap_err();
    assert_eq!((start.elapsed(), error.kind()), (Duration::ZERO, ErrorKind::RateLimited));
    assert!(error.retry_after().is_some_and(|after| (60 * SECOND..61 * SECOND).contains(&after)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn passed_deadline_sends_nothing() {
    let pool = KeyPool::builder().member(Member::new("a", Scripted::new())).build().unwrap();
    tokio::time::sleep(SECOND).await;
    for age in [Duration::ZERO, SECOND / 2, 60 * SECOND] {
        let passed = (Instant::now() - age).into_std();
        let mut call = Call::new("acme", ChatRequest::new("m").user("hello"));
        call.deadline = Some(passed);
        let sent = oneshot(pool.clone(), call).await.unwrap_err();
        let leased = pool.lease(&LeaseRequest::new("m").deadline(passed)).await.unwrap_err();
        assert_eq!([sent.kind(), leased.kind()], [ErrorKind::DeadlineExceeded; 2]);
    }
    assert_eq!(pool.status().members[0].attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn max_waiting_sheds_further_calls() {
    let pool = KeyPool::builder().member(Member::new("a", "key").max_in_flight(1)).max_waiting(1).build().unwrap();
    let request = LeaseRequest::new("m");
    let held = pool.lease(&request).await.unwrap();
    let mut waiting = tokio_test::task::spawn(pool.lease(&request));
    assert!(waiting.poll().is_pending());
    assert_eq!(pool.lease(&request).await.unwrap_err().kind(), ErrorKind::Overloaded);
    drop(held);
    assert!(waiting.is_woken() && waiting.poll().is_ready());
    assert_eq!(pool.status().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn pinned_call_names_missing_group() {
    let pool = KeyPool::builder().member(Member::new("a", "key")).build().unwrap();
    let error = pool.lease(&LeaseRequest::new("m").pinned(Pinned::to("gone"))).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.message().contains("gone"), "{error}");
    assert_eq!(pool.lease(&LeaseRequest::new("m").pinned(Pinned::to("a"))).await.unwrap().member(), "a");
}

#[tokio::test(start_paused = true)]
async fn unavailable_names_at_most_eight_members() {
    let members = (0..12).map(|member| Member::new(format!("key-{member}"), "sk"));
    let pool = KeyPool::builder().members(members).build().unwrap();
    let error =
        pool.run(&LeaseRequest::new("m"), async |_| Err::<(), _>(Outcome::status(401, None))).await.unwrap_err();
    let names = error.message().matches("key-").count();
    assert!(error.message().contains("12 unauthorized") && names == 8, "{error}");
}

#[tokio::test(start_paused = true)]
async fn waiting_call_takes_first_of_thousand() {
    let (mut prng, mut at) = (crate::support::Prng(1), Duration::ZERO);
    let arrivals = (0..2_000).map(|call| {
        at += if call % 50 == 0 { Duration::from_millis(prng.below(2_000)) } else { Duration::ZERO };
        at
    });
    check_first_returns(arrivals.collect()).await;
}

/// The calls of the trace arrive four times as fast, which is more than the members can take.
#[tokio::test(start_paused = true)]
async fn waiting_call_on_azure_trace_is_prompt() {
    if let Some(trace) = crate::support::trace() {
        check_first_returns(trace.iter().take(5_000).map(|request| request.arrived_at / 4).collect()).await;
    }
}

/// Sends calls at these times to a thousand members with a limit of one request a minute each. Checks that no call
/// waits longer than until the first member becomes available.
async fn check_first_returns(arrivals: Vec<Duration>) {
    const MEMBERS: usize = 1_000;
    /// Length of a slice of a minute. An amount leaves the window up to two slices late.
    const SLICE: Duration = Duration::from_millis(250);
    let names: Vec<String> = (0..MEMBERS).map(|member| format!("key-{member}")).collect();
    let groups = names.iter().map(|name| Group::new(&**name).limit("m", requests_per_minute(1)));
    let members = names.iter().map(|name| Member::new(&**name, ()));
    let builder = groups.fold(KeyPool::builder().members(members), |builder, group| builder.group(group));
    let pool = builder.seed(7).max_wait(300 * SECOND).build().unwrap();
    let start = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for (call, arrived) in arrivals.into_iter().enumerate() {
        tokio::time::sleep_until(start + arrived).await;
        let pool = pool.clone();
        let arrived = start.elapsed();
        calls.spawn(async move {
            pool.lease(&LeaseRequest::new("m")).await.unwrap().report(Outcome::success());
            (call, arrived, start.elapsed())
        });
        tokio::task::yield_now().await;
    }
    let mut calls = calls.join_all().await;
    calls.sort_unstable();
    let returns = |sent: Duration| SLICE * (sent.as_millis() / SLICE.as_millis()) as u32 + 2 * SLICE + 60 * SECOND;
    let waited = calls.iter().map(|(_, arrived, served)| *served - *arrived);
    println!(
        "{} of {} waited, at most {:?}",
        waited.clone().filter(|wait| !wait.is_zero()).count(),
        calls.len(),
        waited.max()
    );
    for (call, arrived, served) in &calls {
        let expected = match call.checked_sub(MEMBERS) {
            None => *arrived,
            Some(before) => returns(calls[before].2).max(*arrived),
        };
        assert!(*served <= expected + Duration::from_millis(10), "call {call}: {expected:?}, served at {served:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pinned_call_that_waits_delays_no_other() {
    let limit = Group::new("a").limit("m", requests_per_minute(1));
    let members = ["a", "b"].map(|name| Member::new(name, name));
    let pool = KeyPool::builder().members(members).group(limit).max_wait(90 * SECOND).build().unwrap();
    let pinned = LeaseRequest::new("m").pinned(Pinned::to("a"));
    drop(pool.lease(&pinned).await.unwrap());
    let mut waiting = tokio_test::task::spawn(pool.lease(&pinned));
    assert!(waiting.poll().is_pending());
    let start = Instant::now();
    for _ in 0..10 {
        assert_eq!(pool.lease(&LeaseRequest::new("m")).await.unwrap().member(), "b");
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(waiting.await.unwrap().member(), "a");
}

/// The response to a running attempt may come at any time, so that also a call of little time waits for it.
#[tokio::test(start_paused = true)]
async fn short_wait_ends_with_running_attempt() {
    let request = LeaseRequest::new("m");
    let builder = || KeyPool::builder().max_wait(SECOND / 2).seed(7);
    for cause in ["added member", "first call after a parking", "one attempt at a time"] {
        let pool = match cause {
            "one attempt at a time" => builder().member(Member::new("a", "key").max_in_flight(1)),
            _ => builder().member(Member::new("a", "key")),
        };
        let pool = pool.build().unwrap();
        match cause {
            "added member" => pool.replace([Member::new("b", "key")]).unwrap(),
            "first call after a parking" => {
                pool.lease(&request).await.unwrap().report(Outcome::status(429, Some(SECOND)));
                tokio::time::sleep(SECOND).await;
            }
            _ => {}
        }
        let (start, running) = (Instant::now(), pool.lease(&request).await.unwrap());
        let mut waiting = tokio_test::task::spawn(pool.lease(&request));
        assert!(waiting.poll().is_pending(), "{cause}");
        tokio::time::sleep(SECOND / 10).await;
        running.report(Outcome::success());
        assert!(waiting.is_woken() && matches!(waiting.poll(), Poll::Ready(Ok(_))), "{cause}");
        drop(waiting);
        // If it does not end, the call waits as long as it may.
        let running = pool.lease(&request).await.unwrap();
        if cause == "one attempt at a time" {
            let error = pool.lease(&request).await.unwrap_err();
            assert_eq!((error.retry_after(), start.elapsed()), (None, SECOND * 6 / 10), "{error}");
        }
        drop(running);
    }
}

/// The end of an attempt opens nothing that is away for longer.
#[tokio::test(start_paused = true)]
async fn busy_member_that_is_disabled_delays_no_call() {
    let request = LeaseRequest::new("m");
    for spare in [None, Some(Member::new("b", "other").tier(1))] {
        let busy = Member::new("a", "key").max_in_flight(1);
        let pool = KeyPool::builder().member(busy).members(spare.clone()).build().unwrap();
        let _running = pool.lease(&request).await.unwrap();
        assert!(pool.disable_for("a", 300 * SECOND));
        let (start, next) = (Instant::now(), pool.lease(&request).await);
        match spare {
            Some(_) => assert_eq!(next.unwrap().member(), "b"),
            None => assert_eq!(next.unwrap_err().retry_after(), Some(300 * SECOND)),
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

/// A call that must wait too long gets the message of the last failed attempt, but none of a refused key or account.
#[tokio::test(start_paused = true)]
async fn limited_call_quotes_no_refused_key() {
    for (kind, is_quoted) in [
        (ErrorKind::Authentication, false),
        (ErrorKind::QuotaExhausted, false),
        (ErrorKind::PermissionDenied, false),
        (ErrorKind::RateLimited, true),
        (ErrorKind::Overloaded, true),
        (ErrorKind::Timeout, true),
    ] {
        let members = ["a", "b"].map(|name| Member::new(name, name));
        let pool = KeyPool::builder().members(members).build().unwrap();
        let lease = pool.lease(&LeaseRequest::new("m")).await.unwrap();
        lease.report(Error::new(kind, "no: key sk-a***").with_retry_after(300 * SECOND).into());
        assert!(pool.disable_for("a", 300 * SECOND) && pool.disable_for("b", 300 * SECOND));
        let error = pool.lease(&LeaseRequest::new("m")).await.unwrap_err();
        assert_eq!(error.message().contains("sk-a***"), is_quoted, "{kind:?}: {error}");
    }
}
