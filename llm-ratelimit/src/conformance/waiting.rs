//! Tests of calls that wait for room in accounts behind a round trip.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, yield_now},
};

use super::{ask, noon, round_trip::RoundTrips, used};
use crate::{Limiter, Plans, Reason, Refusal, Waiting};

/// Creates a limiter that allows one call at a time, and the semaphore by which the test controls round trips.
fn one_at_a_time(permits: usize) -> (Limiter, Arc<Semaphore>) {
    let line = Arc::new(Semaphore::new(permits));
    let plans = Plans::uniform(["1 concurrent"]).expect("they are right");
    let waiting = Waiting::at_most(Duration::from_secs(600));
    let mut builder = Limiter::builder(plans).clock(noon()).waiting(waiting);
    builder.accounts = Some(Box::new(RoundTrips::over(Arc::clone(&line))));
    (builder.build().expect("they are right"), line)
}

/// Starts a call that reserves, and settles at once.
fn call(limiter: &Limiter) -> JoinHandle<Result<(), Refusal>> {
    let limiter = limiter.clone();
    tokio::spawn(async move {
        let reservation = limiter.reserve(&ask("a")).await?;
        reservation.settle(used(1, 1));
        Ok(())
    })
}

async fn settle_down() {
    for _ in 0..50 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_round_trip_serves_in_order() {
    let (limiter, _line) = one_at_a_time(1_000);
    let running = limiter.reserve(&ask("a")).await.expect("there is room");
    let mut calls: Vec<_> = (0..20).map(|_| call(&limiter)).collect();
    settle_down().await;
    assert_eq!(limiter.stats().waiting, 20);
    running.settle(used(1, 1));
    for call in calls.drain(..) {
        call.await.expect("it does not panic").expect("there is room");
    }
    assert_eq!((limiter.stats().waiting, limiter.0.accounts.open()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_pending_decision_locks_no_queue() {
    let (limiter, line) = one_at_a_time(2);
    let running = limiter.reserve(&ask("a")).await.expect("there is room");
    let first = call(&limiter);
    settle_down().await;
    running.settle(used(1, 1));
    settle_down().await;
    assert_eq!((limiter.stats().waiting, line.available_permits()), (1, 0), "its decision is under way");
    let second = call(&limiter);
    settle_down().await;
    second.abort();
    line.add_permits(10);
    first.await.expect("it does not panic").expect("there is room");
    assert_eq!((limiter.stats().waiting, limiter.0.accounts.open()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_cancelled_turn_goes_to_next() {
    let (limiter, line) = one_at_a_time(3);
    let running = limiter.reserve(&ask("a")).await.expect("there is room");
    let (first, second) = (call(&limiter), call(&limiter));
    settle_down().await;
    running.settle(used(1, 1));
    settle_down().await;
    assert_eq!((limiter.stats().waiting, line.available_permits()), (2, 0), "the first one's decision is under way");
    first.abort();
    settle_down().await;
    line.add_permits(10);
    second.await.expect("it does not panic").expect("there is room");
    assert_eq!((limiter.stats().waiting, limiter.0.accounts.open()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_closed_limiter_gives_late_grant_back() {
    let (limiter, line) = one_at_a_time(2);
    let running = limiter.reserve(&ask("a")).await.expect("there is room");
    let waits = call(&limiter);
    settle_down().await;
    running.settle(used(1, 1));
    settle_down().await;
    assert_eq!(limiter.close().await, Ok(0));
    line.add_permits(10);
    let refusal = waits.await.expect("it does not panic").expect_err("it is closed");
    assert_eq!((refusal.reason(), limiter.0.accounts.open()), (Reason::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn try_reserve_decides_without_round_trip() {
    let (limiter, line) = one_at_a_time(0);
    let running = limiter.try_reserve(&ask("a")).expect("there is room");
    assert_eq!(limiter.try_reserve(&ask("a")).expect_err("one at a time").reason(), Reason::UsedUp);
    assert!(limiter.usage("a").now_or_never().is_none(), "it needs the line");
    line.add_permits(1);
    assert_eq!(limiter.usage("a").await.iter().next().expect("one limit").reserved, 1);
    drop(running);
}
