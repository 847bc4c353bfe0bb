//! Tests of the number of times that readers and the source are polled.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures_util::{StreamExt, future::join_all};
use llm_core::layer::Broadcast;
use llm_testkit::probe::CountPolls;
use tokio::task::yield_now;

use super::source::{Knob, Source, Step};

const READERS: u64 = 10_000;
const WAKES: u64 = 20;

#[tokio::test]
async fn broadcast_reader_of_one_item_polls_thrice() {
    let mut script = vec![Step::Wait; WAKES as usize];
    script.push(Step::Item(7));
    let (source, knob) = Source::new(&script);
    let shared = Broadcast::new(source);
    let polls = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let mut reader = shared.subscribe().unwrap();
            tokio::spawn(CountPolls::new(async move { reader.next().await }, Arc::clone(&polls)))
        })
        .collect();
    wake_while_waiting(&knob).await;
    assert!(join_all(readers).await.into_iter().all(|item| item.unwrap() == Some(7)));
    let polls = polls.load(Ordering::Relaxed);
    assert!(polls <= 3 * READERS + 2 * WAKES, "{polls} polls");
    assert_eq!(knob.polls(), WAKES + 1);
}

#[tokio::test]
async fn broadcast_polls_reader_once_per_event() {
    const EVENTS: u64 = 50;
    const READERS: u64 = 200;
    let script: Vec<Step> = (0..EVENTS as u32).flat_map(|event| [Step::Wait, Step::Item(event)]).collect();
    let (source, knob) = Source::new(&script);
    let shared = Broadcast::new(source);
    let polls = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let all = shared.subscribe().unwrap().collect::<Vec<u32>>();
            tokio::spawn(CountPolls::new(all, Arc::clone(&polls)))
        })
        .collect();
    wake_while_waiting(&knob).await;
    for reader in readers {
        assert!(reader.await.unwrap().into_iter().eq(0..EVENTS as u32));
    }
    let polls = polls.load(Ordering::Relaxed);
    assert!(polls <= READERS * (EVENTS + 3), "{polls} polls");
    assert_eq!(knob.polls(), EVENTS + EVENTS + 1, "one for each wake, one after each item or at the start");
}

#[tokio::test]
async fn broadcast_ready_stream_polls_reader_once() {
    const READERS: u64 = 100;
    let script: Vec<Step> = (0..50).map(Step::Item).collect();
    let (source, knob) = Source::new(&script);
    let shared = Broadcast::new(source);
    let polls = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..READERS)
        .map(|_| tokio::spawn(CountPolls::new(shared.subscribe().unwrap().count(), Arc::clone(&polls))))
        .collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), 50);
    }
    assert_eq!((polls.load(Ordering::Relaxed), knob.polls()), (READERS, 51));
}

/// Wakes the source whenever it waits, until it has ended. In between, all tasks run.
async fn wake_while_waiting(knob: &Knob) {
    while !knob.is_dropped() {
        if knob.is_waiting() {
            knob.wake();
        }
        yield_now().await;
    }
}
