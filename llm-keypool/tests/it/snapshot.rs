//! Tests of state that is kept across a restart.

use std::time::Duration;

use llm_core::ManualClock;
use llm_keypool::{KeyPool, KeyPoolBuilder, LeaseRequest, Outcome, Reason, Snapshot, fingerprint};

fn keys(clock: &ManualClock) -> KeyPoolBuilder<String> {
    let lookup = |_: &str| Some("one:sk-a, two:sk-b,sk-c, sk-c".to_owned());
    KeyPool::from_env("KEYS", lookup, |key| Ok(key.to_owned())).unwrap().clock(clock.clone()).seed(7)
}

fn report(pool: &KeyPool<String>, key: &str, outcome: impl Fn() -> Outcome) {
    let request = LeaseRequest::new("m");
    for _ in 0..100 {
        let lease = pool.try_lease(&request).unwrap();
        let outcome = if lease.key() == key { outcome() } else { continue };
        return lease.report(outcome);
    }
    panic!("{key} was never chosen");
}

/// Returns the reasons of all parkings, and the remaining seconds of each.
fn parked(pool: &KeyPool<String>) -> Vec<(Reason, u64)> {
    let status = pool.status();
    let all = status.members.into_iter().flat_map(|member| member.parked);
    let all = all.chain(status.groups.into_iter().flat_map(|group| group.parked));
    all.map(|parked| (parked.reason, parked.retry_in.as_millis() as u64 / 1_000)).collect()
}

#[tokio::test(start_paused = true)]
async fn restore_keeps_parked_members_parked() {
    let clock = ManualClock::at_unix(1_700_000_000);
    let before = keys(&clock).build().unwrap();
    report(&before, "sk-a", || Outcome::status(401, None));
    report(&before, "sk-b", || Outcome::status(429, Some(Duration::from_secs(300))));
    assert_eq!(parked(&before), [(Reason::Unauthorized, 600), (Reason::RateLimited, 300)]);
    let text = serde_json::to_string(&before.snapshot()).unwrap();
    assert!(!text.contains("sk-"), "{text}");
    // A minute passes between the two processes.
    clock.advance(Duration::from_secs(60));
    let after = keys(&clock).build().unwrap();
    after.restore(&serde_json::from_str::<Snapshot>(&text).unwrap());
    assert_eq!(parked(&after), [(Reason::Unauthorized, 540), (Reason::RateLimited, 240)]);
    for _ in 0..50 {
        assert_eq!(after.try_lease(&LeaseRequest::new("m")).unwrap().key(), "sk-c");
    }
    tokio::time::sleep(Duration::from_secs(240)).await;
    report(&after, "sk-b", Outcome::success);
    assert_eq!(parked(&after), [(Reason::Unauthorized, 300)]);
}

#[tokio::test(start_paused = true)]
async fn restore_keeps_learned_limits() {
    let clock = ManualClock::at_unix(1_700_000_000);
    let before = keys(&clock).build().unwrap();
    (0..60).for_each(|_| before.try_lease(&LeaseRequest::new("m")).unwrap().report(Outcome::success()));
    report(&before, "sk-a", || Outcome::status(429, Some(Duration::from_secs(1))));
    let limit = |pool: &KeyPool<String>| {
        let groups = pool.status().groups;
        groups.iter().find(|group| &*group.name == "one").unwrap().quotas[0].requests.1
    };
    let learned = limit(&before);
    assert!(learned.is_some());
    let after = keys(&clock).build().unwrap();
    after.restore(&before.snapshot());
    assert_eq!(limit(&after), learned);
}

#[tokio::test(start_paused = true)]
async fn restore_forgets_verdict_of_another_key() {
    let clock = ManualClock::at_unix(1_700_000_000);
    let before = keys(&clock).build().unwrap();
    report(&before, "sk-a", || Outcome::status(401, None));
    let other = |_: &str| Some("sk-d".to_owned());
    let after = KeyPool::from_env("KEYS", other, |key| Ok(key.to_owned())).unwrap().build().unwrap();
    after.restore(&before.snapshot());
    assert!(parked(&after).is_empty());
}

/// The clock of one of the processes is wrong by years: nothing is parked for longer than was left.
#[tokio::test(start_paused = true)]
async fn restore_with_wrong_clock_parks_no_longer() {
    let (right, ahead) = (1_700_000_000, 1_900_000_000);
    for (saved, restored, left) in [
        (right, right, [7_200, 600, 30]),
        (ahead, right, [7_200, 600, 30]),
        (right, 0, [7_200, 600, 30]),
        (right, ahead, [0, 0, 0]),
        (0, right, [0, 0, 0]),
    ] {
        let before = keys(&ManualClock::at_unix(saved)).build().unwrap();
        (0..60).for_each(|_| before.try_lease(&LeaseRequest::new("m")).unwrap().report(Outcome::success()));
        report(&before, "sk-b", || Outcome::status(429, Some(Duration::from_secs(30))));
        report(&before, "sk-a", || Outcome::status(401, None));
        assert!(before.disable_for(&fingerprint("sk-c"), Duration::from_secs(7_200)));
        let after = keys(&ManualClock::at_unix(restored)).build().unwrap();
        after.restore(&before.snapshot());
        let mut parked = parked(&after);
        parked.sort_by_key(|(reason, _)| reason.as_str());
        let [disabled, unauthorized, limited] = left;
        let expected =
            [(Reason::Disabled, disabled), (Reason::RateLimited, limited), (Reason::Unauthorized, unauthorized)];
        assert_eq!(parked, expected, "saved at {saved}, restored at {restored}");
        let limit = |pool: &KeyPool<String>| pool.status().groups[1].quotas[0].requests.1.unwrap();
        let learned = limit(&after);
        tokio::time::sleep(Duration::from_secs(13 * 60)).await;
        assert!(limit(&after) > learned, "it grows");
    }
}

/// The snapshot is from another version, or was written by hand.
#[tokio::test(start_paused = true)]
async fn restore_of_odd_snapshot_keeps_pool_working() {
    let clock = ManualClock::at_unix(1_700_000_000);
    let limit = |stated: &str, learned: &str| {
        format!(r#"{{"group":"one","model":"m","unit":0,"stated":{stated},"learned":{learned}}}"#)
    };
    let parked = |left: u64, times: u32| {
        format!(
            r#"{{"part":{{"member":null,"group":"one","model":"m"}},"fingerprint":null,"reason":"rate_limited","left":{left},"times":{times},"is_timed":true}}"#
        )
    };
    for text in [
        "{}".to_owned(),
        format!(r#"{{"limits":[{}]}}"#, limit("0", "0")),
        format!(r#"{{"limits":[{}]}}"#, limit("null", &u64::MAX.to_string())),
        format!(r#"{{"parked":[{}]}}"#, parked(u64::MAX, u32::MAX)),
        format!(r#"{{"parked":[{}]}}"#, parked(0, 0)),
    ] {
        let pool = keys(&clock).build().unwrap();
        pool.restore(&serde_json::from_str::<Snapshot>(&text).unwrap());
        for status in [200, 429, 200] {
            pool.try_lease(&LeaseRequest::new("m")).unwrap().report(Outcome::status(status, None));
            tokio::time::sleep(Duration::from_secs(1_000)).await;
        }
        assert_eq!(pool.status().members.len(), 3, "{text}");
    }
}
