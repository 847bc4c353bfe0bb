//! Tests of calls outside of a tokio runtime: they fail with an error that names the cause, and do not panic.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use llm_providers::{
    OpenAi,
    llm_core::{Error, ErrorKind, Provider, into_provider},
    retry::RetryLayer,
};
use serde_json::json;

use crate::streaming::{Canned, play_to, question};

/// Polls a future once, without any runtime.
fn poll<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits, though nothing can wake it"),
    }
}

fn assert_needs_runtime(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Other, "{error:?}");
    assert!(error.message().contains("needs a tokio runtime"), "{error}");
}

#[test]
fn http_client_outside_tokio_returns_error() {
    let client = OpenAi::keyless().unwrap().base_url("http://127.0.0.1:1/v1").unwrap();
    assert_needs_runtime(&poll(client.chat(question())).unwrap_err());
    assert_needs_runtime(&poll(client.chat_stream(question())).map(drop).unwrap_err());
    assert_needs_runtime(&poll(client.models(None)).unwrap_err());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a deadline is a point in real time")]
fn deadline_outside_tokio_returns_error() {
    let mut call = question();
    call.deadline = Some(Instant::now() + Duration::from_secs(3_600));
    let canned = Canned::response("application/json", ["{}"]);
    assert_needs_runtime(&poll(canned.client().chat(call)).unwrap_err());
}

#[test]
fn own_transport_works_outside_tokio() {
    let chunk = json!({"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]});
    let canned = Canned::events([format!("data: {chunk}\n\ndata: [DONE]\n\n")]);
    assert_eq!(poll(play_to(&canned.client())).unwrap().response.unwrap().text(), "hi");
}

#[test]
fn retry_outside_tokio_returns_error() {
    let canned =
        Canned { status: http::StatusCode::SERVICE_UNAVAILABLE, ..Canned::response("application/json", ["{}"]) };
    let provider = into_provider(tower::ServiceBuilder::new().layer(RetryLayer::new()).service(canned.client()));
    assert_eq!(poll(provider.chat(question())).unwrap_err().kind(), ErrorKind::Overloaded);
}
