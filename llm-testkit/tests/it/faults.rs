//! Tests of faults and rules.

use crate::client::{Received, ask, ask_http, chat, connect, host, post, prompt, with};
use crate::formats::{anthropic, events, gemini};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1;
use llm_testkit::{ConnectionClosed, Fault, RefusalKind, Rule, Vendor};
use serde_json::{Value, json};
use std::num::NonZeroUsize;
use tower::ServiceExt;

#[tokio::test]
async fn fault_response_is_sent_unchanged() {
    let vendor = suffering(Fault::status(StatusCode::BAD_GATEWAY, "upstream is gone"));
    let response = ask(&vendor, unary()).await;
    assert_eq!((response.status, response.bytes().as_ref()), (StatusCode::BAD_GATEWAY, &b"upstream is gone"[..]));
    assert_eq!(response.headers["content-type"], "text/plain; charset=utf-8");
    assert!(response.headers.contains_key("x-request-id"));

    let own = Response::builder().status(503).header("retry-after", "7").body("{}".into()).expect("a response");
    let response = ask(&suffering(Fault::Response(Box::new(own))), unary()).await;
    assert_eq!(
        (response.status.as_u16(), &response.headers["retry-after"]),
        (503, &http::HeaderValue::from_static("7"))
    );
    assert!(vendor.bills().is_empty());
}

#[tokio::test]
async fn fault_html_replaces_json() {
    let vendor = suffering(Fault::Html);
    let response = ask(&vendor, unary()).await;
    assert_eq!(response.status, 200);
    assert!(response.bytes().starts_with(b"<!DOCTYPE html>"));
    assert!(vendor.bills().is_empty());
}

#[tokio::test]
async fn fault_huge_event_enlarges_one_event() {
    let response = ask(&suffering(Fault::HugeEvent(1_000_000)), streamed()).await;
    let huge = response.bytes().split(|byte| *byte == b'\n').map(<[u8]>::len).max();
    assert!(huge > Some(1_000_000));
    assert_eq!(response.data().last().map(String::as_str), Some("[DONE]"));
}

#[tokio::test]
async fn fault_huge_body_remains_json() {
    let response = ask(&suffering(Fault::HugeEvent(1_000_000)), unary()).await;
    assert!(response.bytes().len() > 1_000_000);
    assert!(response.json()["choices"][0]["message"]["content"].is_string());
}

#[tokio::test]
async fn fault_invalid_utf8_corrupts_bytes() {
    for request in [unary(), streamed(), tool_call(), post("embeddings", &json!({"model": "e", "input": "a"}))] {
        let response = ask(&suffering(Fault::InvalidUtf8), request).await;
        assert!(std::str::from_utf8(&response.bytes()).is_err());
        assert_eq!(response.status, 200);
    }
}

#[tokio::test]
async fn fault_invalid_tool_json_corrupts_arguments() {
    let response = ask(&suffering(Fault::InvalidToolJson), tool_call()).await.json();
    let arguments =
        response["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"].as_str().expect("a string");
    assert!(serde_json::from_str::<Value>(arguments).is_err());
}

#[tokio::test]
async fn fault_truncated_json_ends_early() {
    let response = ask(&suffering(Fault::TruncatedJson), unary()).await;
    assert!(response.whole && serde_json::from_slice::<Value>(&response.bytes()).is_err());

    let response = ask(&suffering(Fault::TruncatedJson), streamed()).await;
    let broken =
        response.data().into_iter().filter(|data| data != "[DONE]" && serde_json::from_str::<Value>(data).is_err());
    assert_eq!(broken.count(), 1);
}

#[tokio::test]
async fn fault_error_event_ends_stream() {
    for after in [0, 3] {
        let vendor = suffering(Fault::ErrorEvent { after });
        let response = ask(&vendor, streamed()).await;
        let data = response.data();
        assert_eq!((response.status.as_u16(), data.len()), (200, after + 1));
        let last: Value = serde_json::from_str(&data[after]).expect("JSON");
        assert_eq!(last["error"]["type"], "server_error");
        assert_eq!(vendor.bills()[0].output_tokens, after.saturating_sub(1) as u64);
    }
}

#[tokio::test]
async fn fault_refused_in_stream_precedes_content() {
    for (name, (plain, stream, ..)) in ["choices", "message_start", "candidates"].into_iter().zip(formats()) {
        let vendor = suffering(Fault::RefusedInStream(RefusalKind::Overloaded));
        let response = ask(&vendor, stream).await;
        let text = String::from_utf8(response.bytes().to_vec()).expect("UTF-8");
        assert!(response.whole && text.contains("overloaded") && !text.contains("[DONE]"), "{text}");
        assert_eq!(text.contains(name), name != "candidates", "{text}");
        assert!(ask(&vendor, plain).await.json()["error"].is_object());
        assert!(vendor.bills().is_empty() && vendor.statuses()[&200] == 2);
    }
}

#[tokio::test]
async fn fault_error_event_fills_unary_body() {
    let vendor = suffering(Fault::ErrorEvent { after: 0 });
    let response = ask(&vendor, unary()).await;
    assert_eq!(response.status, 200);
    assert!(response.json()["error"].is_object());
    assert!(vendor.bills().is_empty());
}

#[tokio::test]
async fn fault_no_done_omits_last_event() {
    let response = ask(&suffering(Fault::NoDone), streamed()).await;
    assert!(response.whole && !response.data().contains(&"[DONE]".to_owned()));
}

#[tokio::test]
async fn fault_no_usage_is_billed() {
    let vendor = suffering(Fault::NoUsage);
    assert!(ask(&vendor, unary()).await.json().get("usage").is_none());
    assert!(ask(&vendor, streamed()).await.chunks().iter().all(|chunk| chunk.get("usage").is_none()));
    assert!(vendor.bills().iter().all(|bill| bill.output_tokens == 12) && vendor.bills().len() == 2);
}

#[tokio::test]
async fn fault_shred_keeps_bytes() {
    let (plain, shredding) = (vendor(), suffering(Fault::Shred(NonZeroUsize::new(7).expect("seven"))));
    for request in [unary(), streamed()] {
        let (whole, pieces) = (ask(&plain, request.clone()).await, ask(&shredding, request).await);
        assert!(pieces.frames.iter().all(|frame| frame.len() <= 7) && pieces.frames.len() > whole.frames.len());
        assert_eq!(pieces.bytes(), whole.bytes());
    }
    assert_eq!(plain.bills(), shredding.bills());
}

#[tokio::test]
async fn fault_cut_after_closes_both_transports() {
    for request in [unary(), streamed()] {
        let (near, far) = (suffering(Fault::CutAfter(3)), suffering(Fault::CutAfter(3)));
        let near = ask(&near, request.clone()).await;
        let far = ask_http(&far.serve().await, request).await;
        assert_eq!((near.status, near.whole, near.frames.len()), (StatusCode::OK, false, 3));
        assert_eq!((far.status, far.whole, far.bytes()), (StatusCode::OK, false, near.bytes()));
    }
}

#[tokio::test]
async fn fault_cut_after_bills_sent_tokens() {
    let vendor = suffering(Fault::CutAfter(3));
    ask(&vendor, streamed()).await;
    let bill = &vendor.bills()[0];
    assert_eq!((bill.output_tokens, bill.cancelled), (2, false));
}

#[tokio::test]
async fn fault_reset_closes_both_transports() {
    let vendor = suffering(Fault::Reset);
    let near = vendor.transport().oneshot(unary()).await.map(drop);
    assert_eq!(near, Err(ConnectionClosed));
    let server = vendor.serve().await;
    let (mut sender, connection) = http1::handshake(connect(&server).await).await.expect("a handshake");
    let driver = tokio::spawn(connection);
    assert!(sender.send_request(host(unary().map(Full::new))).await.is_err());
    driver.abort();
    assert_eq!((vendor.calls(), vendor.bills().len(), vendor.statuses().len()), (2, 0, 0));
}

#[tokio::test]
async fn rule_by_prompt_skips_other_calls() {
    let vendor = vendor();
    vendor.script(Rule::new(Fault::Html).prompt_contains("señor"));
    let is_page = |response: Received| response.bytes().starts_with(b"<");
    assert!(is_page(ask(&vendor, chat(&prompt("dear señor"))).await));
    assert!(!is_page(ask(&vendor, chat(&prompt("dear sir"))).await));
    vendor.clear_script();
    assert!(!is_page(ask(&vendor, chat(&prompt("dear señor"))).await));
}

#[tokio::test]
async fn faults_apply_in_every_format() {
    for (plain, stream, end, usage) in formats() {
        let whole = ask(&vendor(), stream.clone()).await;
        let suffer = async |fault, request: &http::Request<bytes::Bytes>| ask(&suffering(fault), request.clone()).await;

        let huge = suffer(Fault::HugeEvent(100_000), &stream).await;
        assert!(huge.bytes().len() > 100_000 && huge.frames.len() == whole.frames.len() + 1);
        assert_eq!(events(&huge).len(), events(&whole).len() + 1);
        assert!(suffer(Fault::HugeEvent(100_000), &plain).await.json().is_object());

        for request in [&plain, &stream] {
            assert!(std::str::from_utf8(&suffer(Fault::InvalidUtf8, request).await.bytes()).is_err());
            let usages = String::from_utf8(suffer(Fault::NoUsage, request).await.bytes().to_vec()).expect("UTF-8");
            assert!(!usages.contains(usage), "{usages}");
            let cut = suffer(Fault::CutAfter(3), request).await;
            assert_eq!((cut.whole, cut.frames.len()), (false, 3));
        }
        let broken = suffer(Fault::TruncatedJson, &stream).await.bytes();
        let text = String::from_utf8_lossy(&broken).into_owned();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
        assert_eq!(data.filter(|data| serde_json::from_str::<Value>(data).is_err()).count(), 1);
        assert!(serde_json::from_slice::<Value>(&suffer(Fault::TruncatedJson, &plain).await.bytes()).is_err());

        let endless = suffer(Fault::NoDone, &stream).await;
        assert_eq!(endless.frames, whole.frames[..whole.frames.len() - 1]);
        assert!(String::from_utf8_lossy(whole.frames.last().expect("frames")).contains(end));
        let shredded = suffer(Fault::Shred(NonZeroUsize::new(7).expect("seven")), &stream).await;
        assert_eq!(shredded.bytes(), whole.bytes());
    }
}

/// Returns, for each format, a unary request, a streamed one, a part of its last event, and the name of its usage.
fn formats() -> [(http::Request<bytes::Bytes>, http::Request<bytes::Bytes>, &'static str, &'static str); 3] {
    let message = with(prompt("one"), json!({"max_tokens": 100}));
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "one"}]}]});
    [
        (unary(), streamed(), "[DONE]", "\"usage\":{"),
        (
            anthropic("messages", &message),
            anthropic("messages", &with(message.clone(), json!({"stream": true}))),
            "message_stop",
            "\"usage\":{",
        ),
        (
            gemini("m:generateContent", &contents),
            gemini("m:streamGenerateContent?alt=sse", &contents),
            "finishReason",
            "usageMetadata",
        ),
    ]
}

fn vendor() -> Vendor {
    let wall = std::time::SystemTime::UNIX_EPOCH;
    Vendor::builder().response_tokens(12..=12).wall_clock(move || wall).build()
}

fn suffering(fault: Fault) -> Vendor {
    let vendor = vendor();
    vendor.script(Rule::new(fault));
    vendor
}

fn unary() -> http::Request<bytes::Bytes> {
    chat(&prompt("one"))
}

fn streamed() -> http::Request<bytes::Bytes> {
    chat(&with(prompt("one"), json!({"stream": true, "stream_options": {"include_usage": true}})))
}

fn tool_call() -> http::Request<bytes::Bytes> {
    let tools = json!({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"});
    chat(&with(prompt("one"), tools))
}
