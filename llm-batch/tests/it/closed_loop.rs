//! Tests of callers that each wait for a response before they send the next call.

use std::time::Duration;

use futures_util::future::join_all;
use llm_batch::BatchLayer;
use llm_core::layer::oneshot;
use llm_providers::batch_limits;
use tokio::time::{Instant, sleep};
use tower::Layer;

use crate::support::{LATENCY, MS, Requests, call};

const CALLERS: u32 = 64;
const ROUNDS: u32 = 50;

/// Lets 64 callers send 50 calls each. Before each call, a caller pauses for the time that `pause` returns for the
/// caller and the round. Returns the times at which the callers received their last responses, and the number of
/// requests.
async fn run(pause: impl Fn(u32, u32) -> Duration) -> (Vec<Duration>, usize) {
    let requests = Requests::default();
    let batch = BatchLayer::new(batch_limits::openai_embeddings()).layer(requests.kind());
    let (start, pause) = (Instant::now(), &pause);
    let caller = |caller: u32| {
        let batch = batch.clone();
        async move {
            for round in 0..ROUNDS {
                sleep(pause(caller, round)).await;
                oneshot(batch.clone(), call(format!("{caller} {round}"))).await.expect("it is answered");
            }
            start.elapsed()
        }
    };
    let times = join_all((0..CALLERS).map(caller)).await;
    (times, requests.sizes().len())
}

#[tokio::test(start_paused = true)]
async fn closed_loop_is_no_slower_than_unbatched() {
    let (times, requests) = run(|_, _| Duration::ZERO).await;
    println!("{CALLERS} callers: {requests} requests, the last response after {:?}", times.iter().max());
    // The first batches wait for more callers, until the number of callers is known.
    assert!(times.iter().all(|time| *time <= ROUNDS * LATENCY + 50 * MS), "{times:?}");
    assert!(requests <= 2 * ROUNDS as usize + 5, "{requests}");
}

#[tokio::test(start_paused = true)]
async fn closed_loop_with_pauses_waits_for_callers() {
    // Each caller works for up to 5 ms before its next call.
    let (times, requests) = run(|caller, round| MS * ((caller * 7 + round * 13) % 6)).await;
    println!("with pauses of up to 5 ms: {requests} requests, the last response after {:?}", times.iter().max());
    assert!(times.iter().all(|time| *time <= ROUNDS * (LATENCY + 5 * MS) + 100 * MS), "{times:?}");
    assert!(requests <= 2 * ROUNDS as usize, "{requests}");
}

#[tokio::test(start_paused = true)]
async fn closed_loop_recognizes_fewer_callers() {
    // Half of the callers leave for a minute after 20 rounds.
    let leaves =
        |caller: u32, round: u32| Duration::from_secs(if round == 20 && caller.is_multiple_of(2) { 60 } else { 0 });
    let (times, _) = run(leaves).await;
    println!("half of the callers: the last response after {:?}", times[1]);
    assert!(times[1] <= ROUNDS * LATENCY + 100 * MS, "{:?}", times[1]);
}
