//! Tests that both transports behave in the same way.

use crate::client::{ask, ask_http, chat, connect, host, post, prompt, with};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::Full;
use hyper::client::conn::http1;
use llm_testkit::{Fault, RetryForm, Rule, Vendor};
use serde_json::json;
use std::time::{Duration, SystemTime};

#[tokio::test]
async fn transports_return_equal_responses() {
    let (near, far) = (vendor(5), vendor(5));
    let server = far.serve().await;
    for request in requests() {
        let in_process = ask(&near, request.clone()).await;
        let over_http = ask_http(&server, request).await;
        assert_eq!(in_process.status, over_http.status);
        assert_eq!(in_process.bytes(), over_http.bytes());
        assert_eq!(own_headers(&in_process.headers), own_headers(&over_http.headers));
        assert!(in_process.whole && over_http.whole);
    }
    assert_eq!(near.bills(), far.bills());
    assert_eq!(near.statuses(), far.statuses());
    assert_eq!(near.bills().len(), 4);
}

#[tokio::test]
async fn seed_determines_request_ids() {
    let ids = async |seed| {
        let vendor = vendor(seed);
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(ask(&vendor, chat(&prompt("one"))).await.request_id().to_owned());
        }
        ids
    };
    assert_eq!(ids(1).await, ids(1).await);
    assert_ne!(ids(1).await, ids(2).await);
    let mut distinct = ids(1).await;
    distinct.extend(ids(2).await);
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 6);
}

#[tokio::test]
async fn seed_keeps_response_text() {
    assert_eq!(vendor(1).response_text(&prompt("one")), vendor(2).response_text(&prompt("one")));
}

#[tokio::test]
async fn server_serves_many_calls_per_connection() {
    let vendor = vendor(1);
    let server = vendor.serve().await;
    let (mut sender, connection) = http1::handshake(connect(&server).await).await.expect("a handshake");
    let driver = tokio::spawn(connection);
    for text in ["one", "two", "three"] {
        let request = host(chat(&prompt(text)).map(Full::new));
        let body = sender.send_request(request).await.expect("a head").into_body();
        let body = http_body_util::BodyExt::collect(body).await.expect("a body").to_bytes();
        assert!(String::from_utf8_lossy(&body).contains(&vendor.response_text(&prompt(text)).expect("a response")));
    }
    driver.abort();
    assert_eq!(vendor.calls(), 3);
}

#[tokio::test]
async fn server_drop_refuses_connections() {
    let vendor = vendor(1);
    let server = vendor.serve().await;
    assert!(server.base_url().starts_with("http://127.0.0.1:") && server.base_url().ends_with("/v1"));
    let address = server.address();
    vendor.script(Rule::new(Fault::NoResponse));
    let (mut sender, connection) = http1::handshake(connect(&server).await).await.expect("a handshake");
    let driver = tokio::spawn(connection);
    let waiting = tokio::spawn(sender.send_request(host(chat(&prompt("one")).map(Full::new))));
    vendor.wait_until(|vendor| vendor.in_flight() == 1).await;
    server.close().await;
    assert_eq!(vendor.in_flight(), 0);
    assert!(waiting.await.expect("no panic").is_err());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    driver.abort();
}

#[tokio::test]
async fn recorded_requests_are_unchanged() {
    let vendor = Vendor::builder().recorded_requests(2).build();
    for text in ["one", "two", "three"] {
        ask(&vendor, chat(&prompt(text))).await;
    }
    let kept: Vec<_> = vendor.requests().iter().map(|request| request.body().clone()).collect();
    assert_eq!(kept, [prompt("three").to_string(), prompt("two").to_string()]);
    assert_eq!(vendor.requests()[0].headers()["authorization"], "Bearer sk-a");
}

#[tokio::test]
async fn models_are_listed() {
    let vendor = Vendor::builder().models(["a", "b"]).build();
    let request = Request::get("/v1/models").header("authorization", "Bearer k").body(Bytes::new()).expect("a request");
    let response = ask(&vendor, request).await.json();
    assert_eq!(response["object"], "list");
    assert_eq!((&response["data"][0]["id"], &response["data"][1]["id"]), (&json!("a"), &json!("b")));
}

fn vendor(seed: u64) -> Vendor {
    let vendor = Vendor::builder()
        .seed(seed)
        .price("", 1_000, 500, 2_000)
        .wall_clock(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_000_000))
        .build();
    vendor.script(Rule::new(Fault::rate_limited(Duration::from_secs(3), RetryForm::Both)).prompt_contains("refuse me"));
    vendor
}

fn requests() -> Vec<Request<Bytes>> {
    vec![
        chat(&prompt("one")),
        chat(&with(prompt("one"), json!({"stream": true, "stream_options": {"include_usage": true}, "n": 2}))),
        chat(&prompt("refuse me")),
        chat(&json!({"model": "m", "messages": []})),
        post("embeddings", &json!({"model": "e", "input": ["a", "b"]})),
        post("no/such/path", &json!({})),
        chat(&with(prompt("señor 漢字"), json!({"response_format": {"type": "json_object"}}))),
    ]
}

/// Returns the headers of a response without those of the connection.
fn own_headers(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.remove("transfer-encoding");
    headers.remove("connection");
    headers
}
