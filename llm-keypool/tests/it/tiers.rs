//! Tests of later tiers, and of the time after which a call uses them.

use std::time::Duration;

use llm_keypool::{Group, KeyPool, LeaseRequest, Member, Outcome, requests_per_minute};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// Makes one call that the first tier serves, and another one `returns_in` before the first tier has room again.
/// Returns the member that served the second call, and its waiting time.
async fn second_call(overflow_after: Duration, returns_in: Duration) -> (&'static str, Duration) {
    let members = [Member::new("first", "first"), Member::new("second", "second").tier(1)];
    let limit = Group::new("first").limit("m", requests_per_minute(1));
    let builder = KeyPool::builder().members(members).group(limit).overflow_after(overflow_after);
    let pool = builder.max_wait(90 * SECOND).build().unwrap();
    let request = LeaseRequest::new("m");
    let first = pool.lease(&request).await.unwrap();
    assert_eq!(*first.key(), "first");
    first.report(Outcome::success());
    // The member has room again after a minute and two slices of a quarter of a second.
    tokio::time::sleep(60 * SECOND + SECOND / 2 - returns_in).await;
    let start = Instant::now();
    let member = *pool.lease(&request).await.unwrap().key();
    (member, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn overflow_after_decides_between_wait_and_tier() {
    for (overflow_after, returns_in, member) in [
        (SECOND, 60 * SECOND, "second"),
        (SECOND, 2 * SECOND, "second"),
        (SECOND, SECOND / 2, "first"),
        (Duration::ZERO, SECOND / 2, "second"),
        (70 * SECOND, 60 * SECOND, "first"),
    ] {
        let (served_by, waited) = second_call(overflow_after, returns_in).await;
        println!("overflow after {overflow_after:?}, return in {returns_in:?}: {served_by} after {waited:?}");
        let expected = if member == "first" { returns_in } else { Duration::ZERO };
        let is_expected = expected <= waited && waited <= expected + SECOND / 100;
        assert!(served_by == member && is_expected, "{served_by} {waited:?}");
    }
}
