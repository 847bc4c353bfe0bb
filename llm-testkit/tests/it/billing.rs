//! Tests of bills, including those for calls that their clients cancelled.

use crate::client::{ask, chat, connect, host, prompt, with};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use llm_testkit::{CallKind, Fault, Latency, Rule, Vendor, openai, tokens};
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt;

const MS: Duration = Duration::from_millis(1);

#[tokio::test]
async fn bill_equals_usage() {
    let vendor = Vendor::builder()
        .price("m", 150_000_000, 75_000_000, 600_000_000)
        .cached_percent(25)
        .reasoning_tokens(3)
        .build();
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    for (body, kind) in [(prompt("one"), CallKind::Chat), (with(prompt("one"), options), CallKind::ChatStream)] {
        let response = ask(&vendor, chat(&body)).await;
        let usage = match kind {
            CallKind::Chat => response.json()["usage"].clone(),
            _ => response.chunks().last().expect("chunks")["usage"].clone(),
        };
        let bill = vendor.bill(response.request_id()).expect("a bill");
        assert_eq!((bill.kind, bill.key.as_str(), bill.model.as_str(), bill.cancelled), (kind, "sk-a", "m", false));
        assert_eq!(bill.response_hash, openai::response_hash(&body));
        assert_eq!(usage["prompt_tokens"], bill.input_tokens);
        assert_eq!(usage["completion_tokens"], bill.output_tokens);
        assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], bill.cached_tokens);
        assert_eq!(
            bill.nano_usd,
            (bill.input_tokens - bill.cached_tokens) * 150 + bill.cached_tokens * 75 + bill.output_tokens * 600
        );
    }
    assert_eq!(vendor.total_billed(), vendor.bills().iter().map(|bill| bill.nano_usd).sum::<u64>());
    assert!(vendor.total_billed() > 0);
}

#[tokio::test(start_paused = true)]
async fn bill_of_cancelled_unary_call_is_full() {
    let vendor = slow();
    let waiting = tokio::time::timeout(50 * MS, vendor.transport().oneshot(chat(&prompt("one")))).await;
    assert!(waiting.is_err());
    let bill = &vendor.bills()[0];
    assert_eq!((bill.output_tokens, bill.input_tokens, bill.cancelled), (10, tokens::chat_input(&prompt("one")), true));
    assert_eq!(vendor.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn bill_of_cancelled_stream_covers_generated_tokens() {
    for (wait, generated) in [(50, 0), (100, 1), (125, 2), (1_000, 10)] {
        let vendor = slow();
        let body = vendor.transport().oneshot(stream());
        if wait < 100 {
            assert!(tokio::time::timeout(wait * MS, body).await.is_err());
        } else {
            let body = body.await.expect("a head");
            tokio::time::sleep((wait - 100) * MS).await;
            drop(body);
        }
        let bill = &vendor.bills()[0];
        assert_eq!((bill.output_tokens, bill.cancelled), (generated, true), "after {wait} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn bill_of_complete_stream_is_not_cancelled() {
    let vendor = slow();
    let mut body = vendor.transport().oneshot(stream()).await.expect("a head").into_body();
    let mut frames = 0;
    while !http_body::Body::is_end_stream(&body) {
        body.frame().await.expect("a frame").expect("no cut");
        frames += 1;
    }
    drop(body);
    assert_eq!(frames, 1 + 10 + 1 + 1);
    assert_eq!((vendor.bills()[0].cancelled, vendor.bills()[0].output_tokens), (false, 10));
}

#[tokio::test]
async fn unpolled_future_is_no_call() {
    let vendor = Vendor::new();
    drop(tower_call(&vendor));
    assert_eq!((vendor.calls(), vendor.bills().len()), (0, 0));
}

#[tokio::test]
async fn http_cancel_before_head_is_billed() {
    let vendor = Vendor::builder().response_tokens(10..=10).build();
    vendor.script(Rule::new(Fault::NoResponse));
    let server = vendor.serve().await;
    let (mut sender, connection) = http1::handshake(connect(&server).await).await.expect("a handshake");
    let driver = tokio::spawn(connection);
    let waiting = tokio::spawn(sender.send_request(host(chat(&prompt("one")).map(Full::new))));
    vendor.wait_until(|vendor| vendor.in_flight() == 1).await;
    waiting.abort();
    driver.abort();
    vendor.wait_until(|vendor| vendor.in_flight() == 0).await;
    let bill = &vendor.bills()[0];
    assert_eq!((bill.output_tokens, bill.cancelled), (10, true));
}

#[tokio::test]
async fn http_cancel_of_stream_is_billed() {
    let vendor = Vendor::builder().response_tokens(10..=10).build();
    vendor.script(Rule::new(Fault::StallAfter(4)));
    let server = vendor.serve().await;
    let (mut sender, connection) = http1::handshake(connect(&server).await).await.expect("a handshake");
    let driver = tokio::spawn(connection);
    let mut body = sender.send_request(host(stream().map(Full::new))).await.expect("a head").into_body();
    let mut events = 0;
    while events < 4 {
        let data = body.frame().await.expect("a frame").expect("no cut").into_data().expect("data");
        events += data.windows(2).filter(|pair| pair == b"\n\n").count();
    }
    assert_eq!(vendor.in_flight(), 1);
    drop(body);
    driver.abort();
    vendor.wait_until(|vendor| vendor.in_flight() == 0).await;
    let bill = &vendor.bills()[0];
    assert_eq!((bill.output_tokens, bill.cancelled), (3, true));
}

#[tokio::test]
async fn changed_wakes_waiters() {
    let vendor = Vendor::new();
    let (_, response) = tokio::join!(vendor.changed(), ask(&vendor, chat(&prompt("one"))));
    assert_eq!(response.status, 200);
    assert_eq!(vendor.most_in_flight(), 1);
}

/// Returns a vendor with 100 ms to the first of ten tokens, and 20 ms between tokens.
fn slow() -> Vendor {
    Vendor::builder().response_tokens(10..=10).latency(Latency::fixed(100 * MS, 20 * MS)).build()
}

fn stream() -> http::Request<bytes::Bytes> {
    let body: Value = with(prompt("one"), json!({"stream": true}));
    chat(&body)
}

fn tower_call(vendor: &Vendor) -> llm_testkit::ResponseFuture {
    tower::Service::call(&mut vendor.transport(), chat(&prompt("one")))
}
