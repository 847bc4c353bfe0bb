//! Tests of deadlines of calls that several callers share.

use std::time::Duration;

use llm_core::{
    Call,
    layer::{CallDeadline, SharedDeadline},
};
use tokio::time::{Instant, sleep, sleep_until, timeout};

const SECOND: Duration = Duration::from_secs(1);

fn after(seconds: u32) -> CallDeadline {
    CallDeadline::from(Some((Instant::now() + seconds * SECOND).into_std()))
}

/// Returns the deadline as a layer below the shared call sees it.
fn below(shared: &SharedDeadline) -> CallDeadline {
    let mut call = Call::new("acme", ());
    call.extensions.insert(shared.clone());
    CallDeadline::of(&call)
}

/// Returns the number of seconds until the deadline passes; `None` if it has not passed within an hour.
async fn passes(deadline: &CallDeadline) -> Option<u64> {
    let start = Instant::now();
    let passed = timeout(3_600 * SECOND, deadline.passed(|at| sleep_until(at.into()))).await;
    passed.ok().map(|()| start.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn shared_deadline_is_latest_of_its_callers() {
    let shared = SharedDeadline::new();
    let deadline = below(&shared);
    assert!(!deadline.is_unbounded() && CallDeadline::default().is_unbounded());
    assert_eq!((shared.callers(), deadline.latest(), passes(&deadline).await), (0, None, None));
    let early = shared.join(after(1));
    let (late, same) = (shared.join(after(3)), shared.join(after(3)));
    assert_eq!((shared.callers(), deadline.earliest()), (3, after(1).latest()));
    drop(same);
    assert_eq!(passes(&deadline).await, Some(3));
    let unbounded = shared.join(CallDeadline::default());
    assert_eq!(passes(&deadline).await, None);
    drop((early, unbounded));
    assert_eq!(passes(&deadline).await, Some(0), "that of the one who is left is over");
    drop(late);
    assert_eq!((shared.callers(), deadline.latest(), deadline.earliest()), (0, None, None));
}

#[tokio::test(start_paused = true)]
async fn passed_follows_deadline_while_callers_change() {
    let shared = SharedDeadline::new();
    let first = shared.join(after(2));
    let changes = async {
        sleep(SECOND).await;
        let second = shared.join(after(4));
        sleep(2 * SECOND).await;
        let third = shared.join(CallDeadline::default());
        sleep(5 * SECOND).await;
        let fourth = shared.join(after(2));
        drop((second, third));
        sleep(3_600 * SECOND).await;
        drop(fourth);
    };
    let deadline = below(&shared);
    tokio::select! {
        seconds = passes(&deadline) => assert_eq!(seconds, Some(10)),
        () = changes => panic!("the deadline has not passed"),
    }
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn passed_follows_callers_that_are_shared_themselves() {
    let (outer, inner) = (SharedDeadline::new(), SharedDeadline::new());
    let caller = outer.join(after(1));
    let merged = inner.join(below(&outer));
    let own = inner.join(CallDeadline::of(&Call::new("acme", ()).with_deadline(after(2).latest().unwrap())));
    let deadline = below(&inner);
    assert_eq!((inner.callers(), deadline.earliest()), (2, after(1).latest()));
    let changes = async {
        sleep(SECOND).await;
        let joined = outer.join(after(6));
        sleep(3_600 * SECOND).await;
        drop(joined);
    };
    tokio::select! {
        seconds = passes(&deadline) => assert_eq!(seconds, Some(7)),
        () = changes => panic!("the deadline has not passed"),
    }
    drop((caller, merged, own));
}

#[test]
fn shared_deadline_is_no_caller_of_itself() {
    let shared = SharedDeadline::new();
    let handle = shared.join(below(&shared));
    assert_eq!((shared.callers(), shared.latest(), below(&shared).earliest()), (1, None, None));
    drop(handle);
}

#[tokio::test]
async fn passed_wakes_only_when_the_deadline_moves() {
    let shared = SharedDeadline::new();
    let deadline = below(&shared);
    let unbounded = shared.join(CallDeadline::default());
    let mut passed = tokio_test::task::spawn(deadline.passed(|_| std::future::pending::<()>()));
    assert!(passed.poll().is_pending());
    let early = shared.join(after(1));
    assert!(!passed.is_woken(), "there is still none");
    drop(unbounded);
    assert!(passed.is_woken() && passed.poll().is_pending());
    let late = shared.join(after(2));
    assert!(passed.is_woken() && passed.poll().is_pending());
    drop(early);
    assert!(!passed.is_woken());
    drop(passed);
    drop(late);
}

#[tokio::test(start_paused = true)]
async fn changed_follows_earliest_of_nested_callers() {
    let now = tokio::time::Instant::now().into_std();
    let at = |seconds| CallDeadline::from(Some(now + Duration::from_secs(seconds)));
    let (outer, inner) = (SharedDeadline::new(), SharedDeadline::new());
    let unbounded = (outer.join(CallDeadline::default()), inner.join(CallDeadline::default()));
    let mut changed = tokio_test::task::spawn(Box::pin(outer.changed()));
    tokio_test::assert_pending!(changed.poll());
    // A caller without a deadline may get one later if its call is itself shared.
    let mut shared = Call::new("t", ());
    shared.extensions.insert(inner.clone());
    let nested = outer.join(CallDeadline::of(&shared));
    tokio_test::assert_pending!(changed.poll());
    let later = inner.join(at(9));
    assert!(changed.is_woken());
    tokio_test::assert_ready!(changed.poll());
    let mut changed = tokio_test::task::spawn(Box::pin(outer.changed()));
    tokio_test::assert_pending!(changed.poll());
    let sooner = outer.join(at(3));
    tokio_test::assert_ready!(changed.poll());
    drop((unbounded, nested, later, sooner));
}
