//! Tests of settlements whose replies are lost after the server ran the script.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use llm_ratelimit::Event;
use llm_testkit::redis::RedisServer;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use super::{
    TIMEOUT, accounts_with, ask, build, client, level,
    phantom::{ReplyOutcome, accounts, lossy},
    settled, until, used,
};

#[tokio::test]
async fn alerts_survive_lost_settlement_replies() {
    for is_chunked in [false, true] {
        let (reported, debts) = reported(is_chunked, true).await;
        assert_eq!(reported, [50, 80, 100], "chunked: {is_chunked}");
        assert!(!debts.is_empty(), "chunked: {is_chunked}");
        assert_eq!((reported, debts), self::reported(is_chunked, false).await, "chunked: {is_chunked}");
    }
}

#[tokio::test]
async fn alerts_survive_settlement_retried_late() {
    for is_chunked in [false, true] {
        let (server, loses, lost) =
            (RedisServer::spawn(), Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let outcome = {
            let (loses, lost) = (Arc::clone(&loses), Arc::clone(&lost));
            move |reply: &[u8]| {
                let is_lost = reply.starts_with(b"*1\r\n*6\r\n") && loses.load(SeqCst);
                lost.fetch_or(is_lost, SeqCst);
                if is_lost { ReplyOutcome::Lost } else { ReplyOutcome::Passes }
            }
        };
        let (shares, sink) = recorded_shares();
        let accounts = accounts(&lossy(&server, outcome).await, is_chunked).decision_timeout(TIMEOUT);
        let limiter = build(accounts, &["100 tokens/month"], |builder| builder.sink(sink)).await;
        limiter.reserve(&ask("a").tokens(60, 0)).await.expect("there is room").settle(used(90));
        let close = limiter.close();
        let retry = async {
            until(|| async { lost.load(SeqCst) }).await;
            // Half an hour later, another process forgets old ids.
            let redis = client(&server.url());
            redis.set_clock_offset(1_800_000_000);
            let other = build(accounts_with(redis), &["100 tokens/month"], |builder| builder).await;
            assert_eq!(level(&other, "a").await, (90, 0), "chunked: {is_chunked}");
            loses.store(false, SeqCst);
        };
        assert_eq!(tokio::join!(close, retry).0, Ok(0));
        assert_eq!(*lock(&shares), [50, 80], "chunked: {is_chunked}");
    }
}

/// Returns a list of alert shares, and a sink that appends the share of each event to the list.
fn recorded_shares() -> (Arc<Mutex<Vec<u8>>>, impl Fn(&Event) + Send + Sync + 'static) {
    let shares = Arc::<Mutex<Vec<u8>>>::default();
    let recorded = Arc::clone(&shares);
    (shares, move |event: &Event| lock(&recorded).push(event.percent))
}

/// Returns the alert shares and the debts that are reported while a limit is used up. If `loses` is true, the first
/// reply to each settlement that reaches a share or causes debt is lost.
async fn reported(is_chunked: bool, loses: bool) -> (Vec<u8>, Vec<DebugValue>) {
    let (server, recorder) = (RedisServer::spawn(), DebuggingRecorder::new());
    let _guard = metrics::set_default_local_recorder(&recorder);
    let lost = Arc::<Mutex<HashSet<Vec<u8>>>>::default();
    let outcome = {
        let lost = Arc::clone(&lost);
        move |reply: &[u8]| {
            let is_lost = loses && reply.starts_with(b"*1\r\n*6\r\n") && lock(&lost).insert(reply.to_vec());
            if is_lost { ReplyOutcome::Lost } else { ReplyOutcome::Passes }
        }
    };
    let (shares, sink) = recorded_shares();
    let accounts = accounts(&lossy(&server, outcome).await, is_chunked).decision_timeout(TIMEOUT);
    let limiter = build(accounts, &["100 tokens/month"], |builder| builder.sink(sink)).await;
    for (reserved, tokens) in [(20, 60), (20, 25), (15, 20)] {
        limiter.reserve(&ask("a").tokens(reserved, 0)).await.expect("there is room").settle(used(tokens));
        settled(&limiter).await;
    }
    assert_eq!(limiter.close().await, Ok(0));
    assert_eq!(lock(&lost).is_empty(), !loses);
    let metrics = recorder.snapshotter().snapshot().into_vec().into_iter();
    let debts = metrics.filter(|(key, ..)| key.key().name() == "llm_ratelimit_debt_total").map(|(.., value)| value);
    (std::mem::take(&mut lock(&shares)), debts.collect())
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
