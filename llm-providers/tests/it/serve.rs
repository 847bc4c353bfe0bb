//! Tests of a service's responses in OpenAI's form, read back by this crate's client.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Response;
use http_body_util::BodyExt;
use llm_providers::{
    llm_core::{
        ChatEvent, ChatResponse, ChatStream, Choice, Error, ErrorKind, FinishReason, Output, Part, Receipt, Reply,
        ToolCall, Usage, chat::Reasoning,
    },
    openai::serve::{self, Body, EventStream},
};
use serde_json::Value;

use crate::{
    codec::openai::decode_chat,
    streaming::{Canned, block_on, play},
};

fn choice(index: u32, parts: Vec<Part>, finish: FinishReason) -> Choice {
    Choice::new(index, parts, finish)
}

/// Returns responses of every kind that the format can express.
fn responses() -> Vec<ChatResponse> {
    let call = |id: &str| {
        Part::ToolCall(ToolCall {
            id: id.into(),
            name: "look_up".into(),
            arguments: r#"{"word":"año"}"#.into(),
            ..ToolCall::default()
        })
    };
    let thought = Part::Reasoning(Reasoning { text: "hm".into(), ..Reasoning::default() });
    let contents = [
        vec![choice(0, vec![Part::text("Año 漢🦀\n\ndata: [DONE]")], FinishReason::Stop)],
        vec![choice(0, vec![Part::text("cut")], FinishReason::Length)],
        vec![choice(0, vec![Part::Refusal { text: "no".into() }], FinishReason::Stop)],
        vec![choice(0, vec![call("c1"), call("c2")], FinishReason::ToolCalls)],
        vec![choice(0, vec![thought, Part::text("yes")], FinishReason::Stop)],
        vec![
            choice(0, vec![Part::text("one")], FinishReason::Stop),
            choice(1, vec![Part::text("other")], FinishReason::ContentFilter),
        ],
    ];
    contents.into_iter().map(|choices| ChatResponse::new("id-1", "m-1", choices)).collect()
}

fn bytes(response: Response<Body>) -> Bytes {
    block_on(response.into_body().collect()).unwrap().to_bytes()
}

/// Returns the choices without the fields that only the vendor sends.
fn plain(response: &ChatResponse) -> Vec<(u32, Vec<Part>, FinishReason)> {
    response.choices.iter().map(|choice| (choice.index, choice.parts.clone(), choice.finish.clone())).collect()
}

#[test]
fn serve_responses_round_trip() {
    for response in responses() {
        let whole = bytes(serve::chat(Ok(Reply::new(response.clone(), Receipt::default()))));
        assert_eq!(plain(&decode_chat(&whole).unwrap().output), plain(&response));
        for usage in [None, Some(Usage { cache_read: 4, reasoning: 1, ..Usage::new(9, 4) })] {
            let replayed = ChatStream::replay(Arc::new(response.clone()), usage);
            let events = EventStream::new(replayed).include_usage(usage.is_some());
            let sent = bytes(serve::chat_stream(Ok(Reply::new(events, Receipt::default()))));
            assert!(sent.ends_with(b"data: [DONE]\n\n"));
            let read = block_on(play(Canned::events([sent]))).unwrap();
            assert_eq!(plain(&read.response.unwrap()), plain(&response));
            assert_eq!(read.receipt.usage(), usage);
        }
    }
}

#[test]
fn serve_broken_stream_ends_with_error() {
    let pieces = [
        Ok(ChatEvent::Text { choice: 0, text: "half".into() }),
        Err(Error::new(ErrorKind::Transport, "connection to 10.0.0.7 reset")),
    ];
    let stream = ChatStream::new(stream::iter(pieces));
    let text = bytes(serve::chat_stream(Ok(Reply::new(stream, Receipt::default()))));
    let text = std::str::from_utf8(&text).unwrap();
    let last: Value = serde_json::from_str(text.trim().rsplit("data: ").next().unwrap()).unwrap();
    assert_eq!(last["error"]["type"], "server_error");
    assert!(text.contains("half") && !text.contains("[DONE]") && !text.contains("10.0.0.7"), "{text}");
}

#[test]
fn serve_errors_hide_internal_details() {
    use ErrorKind::*;
    let kinds = [
        (InvalidRequest, 400, true),
        (ContextTooLong, 400, true),
        (ContentFiltered, 400, true),
        (Unsupported, 400, true),
        (NotFound, 404, true),
        (RateLimited, 429, false),
        (OverBudget, 429, true),
        (Authentication, 502, false),
        (PermissionDenied, 502, false),
        (QuotaExhausted, 503, false),
        (Overloaded, 503, false),
        (Unavailable, 503, false),
        (Server, 502, false),
        (Transport, 502, false),
        (Timeout, 504, false),
        (DeadlineExceeded, 504, false),
        (Malformed, 502, false),
        (Incomplete, 502, false),
        (Cancelled, 503, false),
        (Closed, 503, false),
        (Other, 500, false),
    ];
    for (kind, status, is_shown) in kinds {
        let error = Error::new(kind, "about org-1").with_status(418).with_retry_after(Duration::from_millis(1_001));
        let response = serve::error(&error);
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (status, &2.into()), "{kind:?}");
        let body: Value = serde_json::from_slice(&bytes(response)).unwrap();
        let message = body["error"]["message"].as_str().unwrap();
        assert_eq!(message.contains("org-1"), is_shown, "{kind:?}: {message}");
        assert_eq!(body["error"]["type"] == "server_error", status >= 500, "{kind:?}");
    }
}

#[test]
fn serve_body_dropped_ends_the_stream() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let endless = stream::repeat_with(|| Ok(ChatEvent::Text { choice: 0, text: "on".into() }));
    let stream = ChatStream::new(endless).on_end(move |_| sender.send(()).unwrap());
    let mut body = serve::chat_stream(Ok(Reply::new(stream, Receipt::default()))).into_body().into_data_stream();
    assert!(block_on(body.next()).is_some());
    drop(body);
    assert!(receiver.try_recv().is_ok());
}
