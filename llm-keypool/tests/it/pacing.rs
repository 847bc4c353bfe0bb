//! Tests of a group's room under given, stated and learned limits.

use std::time::Duration;

use llm_core::{
    ErrorKind, Usage,
    layer::{VendorLimit, VendorLimits},
};
use llm_keypool::{
    BuildError, Group, GroupLimit, KeyPool, LeaseRequest, Member, Outcome, QuotaStatus, input_tokens_per_minute,
    output_tokens_per_minute, requests_per_minute, tokens_per_minute,
};
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

fn pool(group: Group) -> KeyPool<&'static str> {
    KeyPool::builder().member(Member::new("a", "sk-a")).group(group).seed(7).build().unwrap()
}

fn of_model(limits: impl IntoIterator<Item = GroupLimit>) -> KeyPool<&'static str> {
    pool(limits.into_iter().fold(Group::new("a"), |group, limit| group.limit("m", limit)))
}

fn quota(pool: &KeyPool<&'static str>) -> QuotaStatus {
    pool.status().groups[0].quotas[0].clone()
}

/// Leases keys until none has room, and reports each as served. Returns the number of leases.
fn serve_all(pool: &KeyPool<&'static str>) -> usize {
    let serve = || pool.try_lease(&LeaseRequest::new("m")).map(|lease| lease.report(Outcome::success()));
    std::iter::repeat_with(serve).take(10_000).take_while(Result::is_ok).count()
}

fn states(limit: VendorLimit) -> Outcome {
    let mut limits = VendorLimits::default();
    limits.requests = Some(limit);
    Outcome::success().limits(limits)
}

#[tokio::test(start_paused = true)]
async fn share_uses_part_of_limit() {
    let served = [1, 33, 80, 100, 250].map(|share| {
        let group = Group::new("a").limit("m", requests_per_minute(200)).share(share);
        serve_all(&pool(group))
    });
    println!("of 200: {served:?}");
    assert_eq!(served, [2, 66, 160, 200, 200]);
}

#[test]
fn zero_setting_is_refused_by_build() {
    let member = || Member::new("a", "sk-a");
    let given = |limit| KeyPool::builder().member(member()).group(Group::new("a").limit("m", limit));
    let builders = [
        (given(requests_per_minute(0)), r#"requests_per_minute of group "a" for model "m""#),
        (given(tokens_per_minute(0)), r#"tokens_per_minute of group "a" for model "m""#),
        (given(input_tokens_per_minute(0)), r#"input_tokens_per_minute of group "a" for model "m""#),
        (given(output_tokens_per_minute(0)), r#"output_tokens_per_minute of group "a" for model "m""#),
        (KeyPool::builder().member(member()).group(Group::new("a").share(0)), r#"the share of group "a""#),
        (KeyPool::builder().member(member().weight(0)), r#"the weight of member "a""#),
        (KeyPool::builder().member(member().max_in_flight(0)), r#"max_in_flight of member "a""#),
        (KeyPool::builder().member(member()).response_timeout(Duration::ZERO), "response_timeout"),
        (KeyPool::builder().member(member()).first_content_timeout(Duration::ZERO), "first_content_timeout"),
    ];
    for (builder, setting) in builders {
        let message = builder.build().map(drop).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{setting} is 0, ")), "{message}");
    }
    let pool = given(requests_per_minute(1)).build().unwrap();
    let replaced = pool.replace([member().weight(0)]);
    assert!(matches!(replaced, Err(BuildError::Zero(_))), "{replaced:?}");
}

#[test]
fn group_described_twice_is_refused_by_build() {
    let group = |model| Group::new("a").limit(model, requests_per_minute(1));
    let pool = KeyPool::builder().member(Member::new("a", "sk-a")).group(group("m")).group(group("n")).build();
    assert!(matches!(pool, Err(BuildError::SameGroup(name)) if &*name == "a"));
}

/// Servers send 0 for limits that they do not have, although each of their responses contradicts it.
#[tokio::test(start_paused = true)]
async fn stated_limit_of_zero_is_none() {
    for window in [None, Some(MINUTE), Some(24 * 60 * MINUTE)] {
        for (remaining, reset) in [(None, None), (Some(0), None), (Some(0), Some(MINUTE)), (Some(7), Some(MINUTE))] {
            let mut limit = VendorLimit::new(Some(0), remaining, reset).unwrap();
            limit.window = window;
            let mut limits = VendorLimits::default();
            (limits.requests, limits.tokens) = (Some(limit), Some(limit));
            (limits.input_tokens, limits.output_tokens) = (Some(limit), Some(limit));
            let pool = pool(Group::new("a"));
            for _ in 0..20 {
                let lease = pool.try_lease(&LeaseRequest::new("m").tokens(600, 300)).unwrap();
                lease.report(Outcome::success().limits(limits.clone()));
            }
            assert_eq!((quota(&pool).requests, quota(&pool).tokens), ((20, None), None), "{limit:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn use_by_others_leaves_with_window() {
    let pool = pool(Group::new("a"));
    let stated = VendorLimit::new(Some(100), Some(40), None).unwrap().with_window(MINUTE);
    pool.try_lease(&LeaseRequest::new("m")).unwrap().report(states(stated));
    let now = serve_all(&pool);
    tokio::time::sleep(MINUTE / 2).await;
    let later = serve_all(&pool);
    println!("{now} beside 59 of others, {later} half a minute later");
    // Half of the 59 attempts have left the window.
    assert_eq!((now, (29..=30).contains(&later)), (40, true), "{later}");
}

#[tokio::test(start_paused = true)]
async fn learned_limit_grows_while_not_refused() {
    let pool = pool(Group::new("a"));
    for _ in 0..200 {
        pool.try_lease(&LeaseRequest::new("m")).unwrap().report(Outcome::success());
    }
    pool.try_lease(&LeaseRequest::new("m")).unwrap().report(Outcome::status(429, None));
    let mut limits = Vec::new();
    for _ in 0..=12 {
        limits.push(quota(&pool).requests.1.unwrap());
        tokio::time::sleep(MINUTE).await;
    }
    println!("{limits:?}");
    assert_eq!(limits[..=11], [200, 200, 201, 202, 203, 204, 205, 206, 207, 208, 209, 210]);
    assert_eq!(limits[12], 420);
}

#[tokio::test(start_paused = true)]
async fn learned_limit_is_own_use_at_sending() {
    let pool = pool(Group::new("a"));
    for _ in 0..200 {
        pool.try_lease(&LeaseRequest::new("m")).unwrap().report(Outcome::success());
    }
    tokio::time::sleep(MINUTE - Duration::from_secs(1)).await;
    let slow = pool.try_lease(&LeaseRequest::new("m")).unwrap();
    // All usage has left the window when the refusal arrives.
    tokio::time::sleep(Duration::from_secs(3)).await;
    slow.report(Outcome::status(429, None));
    assert_eq!(quota(&pool).requests, (0, Some(200)));
}

#[tokio::test(start_paused = true)]
async fn learned_limit_with_room_ends_parking() {
    for seed in 0..10 {
        let builder = KeyPool::builder().member(Member::new("a", "sk-a")).max_wait(2 * MINUTE);
        let pool = builder.seed(seed).build().unwrap();
        let start = Instant::now();
        for _ in 0..200 {
            pool.try_lease(&LeaseRequest::new("m")).unwrap().report(Outcome::success());
        }
        let mut attempts = Vec::new();
        while start.elapsed() < MINUTE {
            pool.lease(&LeaseRequest::new("m")).await.unwrap().report(Outcome::status(429, None));
            attempts.push(start.elapsed());
        }
        // The backoff of attempts beyond the limit ends when the first usage has left the window.
        assert!((5..=9).contains(&attempts.len()), "{attempts:?}");
        let room_at = MINUTE + Duration::from_millis(500);
        assert!(attempts.last().is_some_and(|at| *at >= room_at && *at < room_at + MINUTE / 1_000), "{attempts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn exhausted_limit_waits_for_stated_reset() {
    let pool = pool(Group::new("a"));
    let reset = 10 * MINUTE;
    let stated = VendorLimit::new(Some(1_000), Some(0), Some(reset)).unwrap();
    pool.try_lease(&LeaseRequest::new("m")).unwrap().report(states(stated));
    let error = pool.lease(&LeaseRequest::new("m")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(reset)));
    assert!(pool.try_lease(&LeaseRequest::new("n")).is_ok(), "another model has its own limit");
    tokio::time::sleep(reset).await;
    assert!(serve_all(&pool) > 1_000, "a limit of an unknown window is not counted");
}

/// A stated reset in several days may be wrong, so one call is sent as a probe every quarter of an hour.
#[tokio::test(start_paused = true)]
async fn exhausted_limit_of_days_is_probed() {
    let pool = KeyPool::builder().member(Member::new("a", "sk-a")).max_wait(60 * MINUTE).seed(7).build().unwrap();
    let exhausted = |remaining| VendorLimit::new(Some(1_000), Some(remaining), Some(9_360 * MINUTE)).unwrap();
    let start = Instant::now();
    for quarter in 0..4 {
        let lease = pool.lease(&LeaseRequest::new("m")).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), quarter * 900);
        lease.report(states(exhausted(0)));
        assert!(pool.try_lease(&LeaseRequest::new("m")).is_err());
    }
    pool.lease(&LeaseRequest::new("m")).await.unwrap().report(states(exhausted(500)));
    assert_eq!((start.elapsed().as_secs(), serve_all(&pool)), (3_600, 10_000));
}

/// An attempt in flight reserves the share of its largest output that recent responses used, and never less.
#[tokio::test(start_paused = true)]
async fn output_reservation_follows_use_of_responses() {
    let pool = of_model([output_tokens_per_minute(100_000)]);
    let request = LeaseRequest::new("m").tokens(10, 1_000);
    let in_flight = || {
        let leases: Vec<_> =
            std::iter::repeat_with(|| pool.try_lease(&request)).take(20_000).map_while(Result::ok).collect();
        leases.len()
    };
    assert_eq!(in_flight(), 100, "of the first attempts the whole counts");
    tokio::time::sleep(2 * MINUTE).await;
    let mut room = Vec::new();
    for output in [100, 100, 600, 1_000, 5_000, 0] {
        for _ in 0..400 {
            tokio::time::sleep(Duration::from_secs(20)).await;
            pool.try_lease(&request).unwrap().report(Outcome::success().usage(Usage::new(10, output)));
        }
        tokio::time::sleep(2 * MINUTE).await;
        room.push(in_flight());
        tokio::time::sleep(2 * MINUTE).await;
    }
    println!("{room:?}");
    assert!((900..=1_000).contains(&room[1]) && (160..=167).contains(&room[2]), "{room:?}");
    assert_eq!(room[3..5], [100, 100], "{room:?}");
    assert!(room[5] > 10_000, "{room:?}");
}

#[tokio::test(start_paused = true)]
async fn tokens_are_settled_as_vendors_count_them() {
    let pool = of_model([tokens_per_minute(9_000), input_tokens_per_minute(9_000), output_tokens_per_minute(9_000)]);
    let lease = pool.try_lease(&LeaseRequest::new("m").tokens(600, 300)).unwrap();
    let counted = |of: Option<(u64, Option<u64>)>| of.unwrap().0;
    let counts = || {
        let QuotaStatus { tokens, input_tokens, output_tokens, .. } = quota(&pool);
        [tokens, input_tokens, output_tokens].map(counted)
    };
    assert_eq!(counts(), [900, 600, 300]);
    lease.report(Outcome::success().usage(Usage { cache_read: 500, ..Usage::new(600, 40) }));
    assert_eq!(counts(), [900, 100, 40]);
}
