//! Tests of latencies in virtual time, to the millisecond.

use crate::client::{ask, chat, prompt, with};
use http_body_util::BodyExt;
use llm_testkit::probe::CountPolls;
use llm_testkit::{Distribution, Fault, Latency, Rule, Vendor};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tower::ServiceExt;

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn latency_of_unary_response_covers_tokens() {
    let vendor = vendor(Latency::fixed(100 * MS, 20 * MS));
    let start = Instant::now();
    let response = ask(&vendor, chat(&prompt("one"))).await;
    assert_eq!(start.elapsed(), 280 * MS);
    assert_eq!(response.headers["openai-processing-ms"], "280");
}

#[tokio::test(start_paused = true)]
async fn latency_of_stream_applies_per_token() {
    let vendor = vendor(Latency::fixed(100 * MS, 20 * MS));
    let start = Instant::now();
    let mut body = vendor
        .transport()
        .oneshot(chat(&with(prompt("one"), json!({"stream": true}))))
        .await
        .expect("a head")
        .into_body();
    assert_eq!(start.elapsed(), 100 * MS);
    let mut times = Vec::new();
    while let Some(frame) = body.frame().await {
        frame.expect("no cut");
        times.push(start.elapsed().as_millis());
    }
    let tokens = (0..10).map(|token| 100 + 20 * token);
    assert_eq!(times, [100].into_iter().chain(tokens).chain([280, 280]).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn stream_wakes_once_per_token_time() {
    let vendor = vendor(Latency::fixed(100 * MS, 20 * MS));
    let polls = Arc::new(AtomicU64::new(0));
    let read = async {
        let mut body = vendor
            .transport()
            .oneshot(chat(&with(prompt("one"), json!({"stream": true}))))
            .await
            .expect("a head")
            .into_body();
        while body.frame().await.is_some() {}
    };
    CountPolls::new(read, polls.clone()).await;
    assert_eq!(polls.load(Ordering::Relaxed), 1 + 10);
}

#[tokio::test]
async fn latency_zero_never_waits() {
    let vendor = Vendor::new();
    let polls = Arc::new(AtomicU64::new(0));
    CountPolls::new(ask(&vendor, chat(&with(prompt("one"), json!({"stream": true})))), polls.clone()).await;
    assert_eq!(polls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn latency_follows_from_seed() {
    let times = async |seed| {
        let dist = |millis| Distribution::LogNormal { median: millis * MS, sigma_permille: 600 };
        let vendor = Vendor::builder().seed(seed).latency(Latency::new(dist(200), dist(10))).build();
        let mut times = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            ask(&vendor, chat(&prompt("one"))).await;
            times.push(start.elapsed());
        }
        times
    };
    let first = times(1).await;
    assert_eq!(first, times(1).await);
    assert_ne!(first, times(2).await);
    assert!(first[0] != first[1] && first[1] != first[2]);
}

#[tokio::test(start_paused = true)]
async fn fault_slow_delays_whole_response() {
    let vendor = vendor(Latency::fixed(100 * MS, 20 * MS).scaled(0.5));
    vendor.script(Rule::new(Fault::Slow(Duration::from_secs(60))).once());
    let start = Instant::now();
    let response = ask(&vendor, chat(&prompt("one"))).await;
    assert_eq!(start.elapsed(), 60_140 * MS);
    assert!(response.whole && !vendor.bills()[0].cancelled);
    vendor.set_latency(Latency::zero());
    let start = Instant::now();
    ask(&vendor, chat(&prompt("one"))).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn fault_no_response_hangs_until_cancelled() {
    let vendor = vendor(Latency::zero());
    vendor.script(Rule::new(Fault::NoResponse));
    let hour = Duration::from_secs(3_600);
    assert!(tokio::time::timeout(hour, vendor.transport().oneshot(chat(&prompt("one")))).await.is_err());
    assert_eq!((vendor.in_flight(), vendor.statuses().len()), (0, 0));
    assert!(vendor.bills()[0].cancelled);
}

#[tokio::test(start_paused = true)]
async fn fault_stall_after_hangs_until_cancelled() {
    let vendor = vendor(Latency::zero());
    vendor.script(Rule::new(Fault::StallAfter(3)));
    let mut body = vendor
        .transport()
        .oneshot(chat(&with(prompt("one"), json!({"stream": true}))))
        .await
        .expect("a head")
        .into_body();
    for _ in 0..3 {
        body.frame().await.expect("a frame").expect("no cut");
    }
    assert!(tokio::time::timeout(Duration::from_secs(3_600), body.frame()).await.is_err());
    drop(body);
    assert_eq!((vendor.bills()[0].output_tokens, vendor.bills()[0].cancelled), (2, true));
}

fn vendor(latency: Latency) -> Vendor {
    Vendor::builder().response_tokens(10..=10).latency(latency).build()
}
