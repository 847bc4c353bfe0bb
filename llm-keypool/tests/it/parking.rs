//! Tests in which one of three keys refuses or fails, in each known way.

use std::time::Duration;

use llm_core::{Call, ChatRequest, Error, ErrorKind, layer::oneshot};
use llm_keypool::{KeyPool, LeaseRequest, Member, Outcome, Reason};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    support::{pool, reset, run_calls, status},
    vendor::{Headers, Key, Vendor},
};

const CALLS: u32 = 3_000;
const EVERY: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);

fn three(vendor: &Vendor) -> [Key; 3] {
    ["a", "b", "c"].map(|name| vendor.key(name, name, None))
}

/// Runs 3,000 calls at 50 a second. Key `a` fails as a function of the time. Returns the errors, and the times of the
/// attempts at `a`.
async fn beside(fault: impl Fn(Duration) -> Option<Error> + Send + Sync + 'static) -> (Vec<Error>, Vec<Duration>) {
    let vendor = Vendor::new((1, 5), Headers::None);
    let pool = pool(three(&vendor)).build().unwrap();
    vendor.fault("a", fault);
    let failed = run_calls(&pool, CALLS, EVERY).await;
    assert!(pool.status().members.iter().all(|member| member.in_flight == 0));
    (failed, vendor.attempts("a"))
}

/// Returns the number of attempts within a response time of the first one, and the gaps between the later ones.
fn split(attempts: &[Duration]) -> (usize, Vec<Duration>) {
    let first = attempts.iter().filter(|at| **at <= attempts[0] + Duration::from_millis(5)).count();
    (first, attempts[first - 1..].windows(2).map(|pair| pair[1] - pair[0]).collect())
}

#[tokio::test(start_paused = true)]
async fn parking_follows_hint_of_rate_limit() {
    let hint = || Outcome::status(429, Some(2 * SECOND)).error().cloned();
    let (failed, attempts) = beside(move |_| hint()).await;
    assert!(failed.is_empty(), "{failed:?}");
    let (first, gaps) = split(&attempts);
    assert!(first <= 2 && gaps.iter().all(|gap| *gap >= 2 * SECOND) && gaps.len() >= 20, "{first} {gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn parking_ends_when_rate_limit_does() {
    let hint = || Outcome::status(429, Some(2 * SECOND)).error().cloned();
    let (failed, attempts) = beside(move |at| hint().filter(|_| at < 2 * SECOND)).await;
    assert!(failed.is_empty(), "{failed:?}");
    let early = attempts.iter().filter(|at| **at < 2 * SECOND).count();
    assert!(early <= 2 && attempts.len() > 20, "{early} {}", attempts.len());
}

#[tokio::test(start_paused = true)]
async fn parking_backs_off_without_hint() {
    let (failed, attempts) = beside(|_| Some(status(429))).await;
    assert!(failed.is_empty(), "{failed:?}");
    let (first, gaps) = split(&attempts);
    assert!(first <= 2 && gaps.len() <= 7, "{gaps:?}");
    for (step, gap) in gaps.iter().enumerate() {
        let bound = SECOND * (1 << step);
        assert!((bound / 2..=bound + SECOND).contains(gap), "{gaps:?}");
    }
}

/// A stated waiting time of zero, such as a date in the past, does not make the pool send a call at once.
#[tokio::test(start_paused = true)]
async fn parking_backs_off_with_hint_of_zero() {
    for names in [&["a"][..], &["a", "b", "c"]] {
        let members = names.iter().map(|name| Member::new(*name, ()));
        let pool = KeyPool::builder().members(members).seed(7).build().unwrap();
        let (start, mut attempts) = (Instant::now(), Vec::new());
        let request = LeaseRequest::new("m");
        let outcome = pool.run(&request, |()| {
            attempts.push(start.elapsed());
            async { Err::<(), _>(Outcome::status(429, Some(Duration::ZERO))) }
        });
        assert_eq!(outcome.await.unwrap_err().kind(), ErrorKind::RateLimited);
        let at_once = attempts.iter().filter(|at| at.is_zero()).count();
        assert!(at_once <= names.len() && attempts.len() < 20, "{attempts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn parking_of_rejected_key_lasts() {
    for code in [401, 402, 403, 404] {
        let (failed, attempts) = beside(move |_| Some(status(code))).await;
        assert!(failed.is_empty(), "{code} {failed:?}");
        let (first, gaps) = split(&attempts);
        assert!(first <= 2 && gaps.is_empty(), "{code}: {attempts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn breaker_opens_after_fifth_reset() {
    let (failed, attempts) = beside(|_| Some(reset())).await;
    assert!(failed.is_empty(), "{failed:?}");
    // Five failures and the attempts in flight, and then one call after 5, 10 and 20 seconds.
    let gaps: Vec<_> = attempts.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap >= 4 * SECOND).collect();
    assert!(attempts.len() <= 6 + gaps.len(), "{attempts:?}");
    for (gap, bound) in gaps.iter().zip([5, 10, 20]) {
        assert!((SECOND * bound..SECOND * (bound + 1)).contains(gap), "{gaps:?}");
    }
}

/// Sends calls through the service. Key `a` never responds.
async fn beside_hanging(pool: &KeyPool<Key>, deadline: Option<Duration>) -> Vec<Error> {
    let mut running = JoinSet::new();
    for _ in 0..CALLS {
        let mut call = Call::new("t", ChatRequest::new("gpt-4o").user("hello"));
        call.deadline = deadline.map(|deadline| (Instant::now() + deadline).into_std());
        running.spawn(oneshot(pool.clone(), call));
        tokio::time::sleep(EVERY).await;
    }
    running.join_all().await.into_iter().filter_map(Result::err).collect()
}

#[tokio::test(start_paused = true)]
async fn response_timeout_moves_calls_from_hanging_key() {
    let vendor = Vendor::new((1, 5), Headers::None);
    let pool = pool(three(&vendor)).response_timeout(2 * SECOND).build().unwrap();
    vendor.hang("a");
    let failed = beside_hanging(&pool, None).await;
    assert!(failed.is_empty(), "{} {:?}", failed.len(), failed.first());
    let attempts = vendor.attempts("a");
    // The attempts that were in flight when the fifth one timed out, and then one for each parking.
    let fifth = attempts[4] + 2 * SECOND;
    let early = attempts.iter().filter(|at| **at <= fifth).count();
    let late = &attempts[early..];
    assert!(late.len() <= 4 && late.windows(2).all(|pair| pair[1] - pair[0] >= 7 * SECOND), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn deadlines_alone_open_breaker_of_hanging_key() {
    let vendor = Vendor::new((1, 5), Headers::None);
    let pool = pool(three(&vendor)).build().unwrap();
    vendor.hang("a");
    let failed = beside_hanging(&pool, Some(12 * SECOND)).await;
    let attempts = vendor.attempts("a");
    let fifth = attempts[4] + 12 * SECOND;
    let early = attempts.iter().filter(|at| **at <= fifth).count();
    let kinds = failed.iter().all(|error| error.kind() == ErrorKind::DeadlineExceeded);
    assert!(kinds && failed.len() <= attempts.len(), "{:?}", failed.first());
    assert!(attempts.len() <= early + 4, "{early} {}", attempts.len());
}

#[tokio::test(start_paused = true)]
async fn oversize_request_returns_its_error() {
    let vendor = Vendor::new((1, 5), Headers::None);
    let limit = llm_keypool::tokens_per_minute(1_000);
    let groups = ["a", "b", "c"].map(|name| llm_keypool::Group::new(name).limit("gpt-4o", limit));
    let pool = groups.into_iter().fold(pool(three(&vendor)), |builder, group| builder.group(group)).build().unwrap();
    let scope = llm_core::layer::LimitScope::Group(llm_core::layer::LimitWindow::Request);
    let request = LeaseRequest::new("gpt-4o").tokens(900, 200);
    let lease = pool.try_lease(&request).unwrap();
    // Other models still have all of their room.
    let small = LeaseRequest::new("gpt-4o").tokens(500, 500);
    let others: Vec<_> = (0..3).map(|_| pool.try_lease(&small).unwrap()).collect();
    lease.report(Error::new(ErrorKind::RateLimited, "too large").with_scope(scope).into());
    drop(others);
    let error = pool
        .run(&request, |_| async {
            Err::<(), _>(Outcome::failed(Error::new(ErrorKind::RateLimited, "too large").with_scope(scope)))
        })
        .await
        .unwrap_err();
    assert_eq!(error.message(), "too large");
    let status = pool.status();
    assert!(status.members.iter().all(|member| member.parked.is_empty()));
    assert!(status.groups.iter().all(|group| group.parked.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn long_hint_is_tried_each_quarter_hour() {
    let vendor = Vendor::new((1, 5), Headers::None);
    let pool = pool([vendor.key("a", "a", None)]).build().unwrap();
    let week = Duration::from_secs(156 * 3_600);
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    vendor.fault("a", move |at| Outcome::status(429, Some(week)).error().cloned().filter(|_| at < minutes(10)));
    let mut served = None;
    for second in 0..minutes(20).as_secs() {
        let served_now = run_calls(&pool, 1, Duration::ZERO).await.is_empty();
        served = served.or(served_now.then_some(second));
        tokio::time::sleep(SECOND).await;
    }
    assert!(served.is_some_and(|second| second <= 15 * 60), "{served:?}");
    let early = vendor.attempts("a").iter().filter(|at| **at < minutes(15) - SECOND).count();
    assert_eq!(early, 1);
}

#[tokio::test(start_paused = true)]
async fn half_open_call_without_end_loses_turn() {
    let pool = KeyPool::builder().member(llm_keypool::Member::new("a", "sk-a")).build().unwrap();
    let request = LeaseRequest::new("m");
    for _ in 0..5 {
        pool.try_lease(&request).unwrap().report(Outcome::status(408, None));
    }
    assert!(pool.try_lease(&request).is_err(), "the breaker is open");
    tokio::time::sleep(5 * SECOND).await;
    let silent = pool.try_lease(&request).unwrap();
    tokio::time::sleep(59 * SECOND).await;
    assert!(pool.try_lease(&request).is_err(), "it goes first");
    tokio::time::sleep(SECOND).await;
    pool.try_lease(&request).unwrap().report(Outcome::success());
    assert!(pool.status().members[0].parked.is_empty());
    drop(silent);
    assert_eq!(pool.status().members[0].in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn disabled_member_gets_no_call() {
    let vendor = Vendor::new((1, 5), Headers::None);
    let pool = pool(three(&vendor)).build().unwrap();
    assert!(pool.disable_for("a", 10 * SECOND));
    assert!(run_calls(&pool, 100, EVERY).await.is_empty());
    assert!(vendor.attempts("a").is_empty());
    assert_eq!(pool.status().members[0].parked[0].reason, Reason::Disabled);
    assert!(pool.enable("a"));
    run_calls(&pool, 100, EVERY).await;
    assert!(vendor.attempts("a").len() > 10);
    vendor.fault("a", |_| Some(status(401)));
    run_calls(&pool, 100, EVERY).await;
    assert_eq!(pool.status().members[0].parked[0].reason, Reason::Unauthorized);
    assert!(pool.reset("a") && pool.status().members[0].parked.is_empty());
}
