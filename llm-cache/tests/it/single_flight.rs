//! Tests of single flight: each request is paid once, whichever caller is cancelled.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use llm_core::{ManualClock, Origin};
use llm_testkit::probe::CountPolls;
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::upstream::{HEAD, STEP, Upstream, ask, cache, provider, read, say};

#[expect(clippy::disallowed_methods, reason = "this is a test's edge")]
pub(crate) fn full() -> bool {
    std::env::var("LLM_FULL").is_ok_and(|full| full == "1")
}

/// Numbers of polls of the tasks of unary callers and of streamed readers.
#[derive(Default)]
struct Polls {
    unary: Arc<AtomicU64>,
    streamed: Arc<AtomicU64>,
}

/// Sends 10,000 calls at once, half of them streamed. `leader_streams` decides if the first one is.
async fn stampede(leader_streams: bool, words: &str) -> (Polls, u64) {
    let upstream = Upstream::default();
    let cache = cache(&ManualClock::default());
    let provider = provider(&upstream, &cache);
    let polls = Polls::default();
    let tasks: Vec<_> = (0..10_000)
        .map(|n| {
            let (provider, words) = (Arc::clone(&provider), words.to_owned());
            let streamed = (n % 2 == 0) == leader_streams;
            let polls = if streamed { &polls.streamed } else { &polls.unary };
            let call = async move { say(&*provider, &words, streamed).await };
            tokio::spawn(CountPolls::new(call, Arc::clone(polls)))
        })
        .collect();
    for task in tasks {
        let said = task.await.expect("no caller panics");
        assert_eq!(said.expect("the upstream answers"), words);
    }
    let stats = cache.stats();
    assert_eq!((stats.misses, stats.coalesced, stats.running, stats.entries), (1, 9_999, 0, 1));
    (polls, upstream.calls())
}

#[tokio::test(start_paused = true)]
async fn single_flight_mixed_callers_behind_unary_leader() {
    let (polls, calls) = stampede(false, "one two three").await;
    assert_eq!(calls, 1);
    // The upstream call wakes once. A streamed reader finds the response complete, so that it is polled as often as a
    // unary caller.
    for polls in [polls.unary, polls.streamed] {
        let polls = polls.load(Ordering::SeqCst);
        assert!(polls <= 3 * 5_000 + 1, "{polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn single_flight_mixed_callers_behind_streaming_leader() {
    let words = "w ".repeat(7);
    let events = 7 + 3;
    let (polls, calls) = stampede(true, &words).await;
    assert_eq!(calls, 1);
    // Unary callers read the stream too, and drive it when they are woken for that.
    for polls in [polls.unary, polls.streamed] {
        let polls = polls.load(Ordering::SeqCst);
        assert!(polls <= 5_000 * (events + 3), "{polls} polls, {} a reader", polls / 5_000);
    }
}

#[tokio::test(start_paused = true)]
async fn single_flight_polls_unary_callers_thrice() {
    const CALLERS: u64 = 10_000;
    let upstream = Upstream::default();
    let provider = provider(&upstream, &cache(&ManualClock::default()));
    let polls = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..CALLERS)
        .map(|_| {
            let provider = Arc::clone(&provider);
            let call = async move { say(&*provider, "one two", false).await };
            tokio::spawn(CountPolls::new(call, Arc::clone(&polls)))
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let upstream_wakes = 1;
    let polls = polls.load(Ordering::SeqCst);
    assert!(polls <= 3 * CALLERS + upstream_wakes, "{polls} polls");
}

#[tokio::test(start_paused = true)]
async fn single_flight_late_caller_gets_whole_stream() {
    let upstream = Upstream::default();
    let provider = provider(&upstream, &cache(&ManualClock::default()));
    let mut first = provider.chat_stream(ask("a b c d")).await.unwrap().output;
    for _ in 0..3 {
        first.next().await.unwrap().unwrap();
    }
    let before = tokio::time::Instant::now();
    let late = provider.chat_stream(ask("a b c d")).await.unwrap();
    assert_eq!(late.receipt.origin(), Origin::Coalesced);
    let unary = tokio::spawn({
        let provider = Arc::clone(&provider);
        async move { provider.chat(ask("a b c d")).await.unwrap() }
    });
    let mut late = late.output;
    for _ in 0..3 {
        late.next().await.unwrap().unwrap();
    }
    assert_eq!(before.elapsed(), Duration::ZERO, "what had come came at once");
    tokio::task::yield_now().await;
    drop(first);
    drop(late);
    let unary = unary.await.unwrap();
    assert_eq!(unary.output.text(), "a b c d", "the last one left drives it to its end");
    assert_eq!(unary.receipt.usage().unwrap().output, 4);
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn single_flight_cancels_call_without_waiters() {
    let upstream = Upstream::default();
    let cache = cache(&ManualClock::default());
    let provider = provider(&upstream, &cache);
    for streamed in [false, true] {
        let call = say(&*provider, "a b c", streamed);
        assert!(tokio::time::timeout(HEAD / 2, call).await.is_err());
        assert_eq!((upstream.alive.load(Ordering::SeqCst), cache.stats().running), (0, 0));
    }
    assert_eq!(say(&*provider, "a b c", false).await.unwrap(), "a b c");
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn single_flight_slow_reader_delays_no_other() {
    let upstream = Upstream::default();
    let provider = provider(&upstream, &cache(&ManualClock::default()));
    let mut dawdler = provider.chat_stream(ask("a b c d e f")).await.unwrap().output;
    dawdler.next().await.unwrap().unwrap();
    let quick = provider.chat_stream(ask("a b c d e f")).await.unwrap().output;
    let started = tokio::time::Instant::now();
    assert_eq!(read(quick).await.unwrap().0, "a b c d e f");
    assert!(started.elapsed() <= STEP * 9);
    assert_eq!(read(dawdler).await.unwrap().0, "a b c d e f");
}

/// Some callers are cancelled at random times, always including the first. The others get the complete response of one
/// upstream call.
#[tokio::test(start_paused = true)]
async fn single_flight_survives_cancellation_of_any_caller() {
    let (seeds, callers) = if full() { (1_000, 10_000) } else { (100, 200) };
    for seed in 0..seeds {
        let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed as u8, (seed >> 8) as u8].repeat(16));
        let upstream = Upstream::default();
        let cache = cache(&ManualClock::default());
        let provider = provider(&upstream, &cache);
        let whole = HEAD + STEP * 6;
        let tasks: Vec<_> = (0..callers)
            .map(|n| {
                let provider = Arc::clone(&provider);
                let streamed = random.next_u32().is_multiple_of(2);
                let cut = (n == 0 || random.next_u32().is_multiple_of(3))
                    .then(|| Duration::from_micros(u64::from(random.next_u32()) % whole.as_micros() as u64));
                let task = tokio::spawn(async move {
                    let call = say(&*provider, "one two three", streamed);
                    match cut {
                        None => Some(call.await),
                        Some(cut) => tokio::time::timeout(cut, call).await.ok(),
                    }
                });
                (cut.is_none(), task)
            })
            .collect();
        for (stays, task) in tasks {
            let outcome = task.await.unwrap();
            assert!(outcome.is_some() || !stays);
            if let Some(response) = outcome {
                assert_eq!(response.unwrap(), "one two three", "seed {seed}");
            }
        }
        let stats = cache.stats();
        assert_eq!((upstream.calls(), stats.running, stats.entries), (1, 0, 1), "seed {seed}");
        assert_eq!(upstream.alive.load(Ordering::SeqCst), 0, "seed {seed}");
    }
}
