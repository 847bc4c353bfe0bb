//! A vendor may echo a key anywhere; ours pass it on nowhere.

use std::error::Error as _;

use http::StatusCode;
use llm_providers::{
    Anthropic, Gemini, OpenAi,
    llm_core::{Call, ChatRequest, Error, ErrorKind, Provider},
};

use crate::streaming::{Canned, block_on, read};

/// A key that looks like no vendor's.
const KEY: &str = "plain-words-of-mine-0123456789";

fn clients(canned: &Canned) -> Vec<Box<dyn Provider>> {
    vec![
        Box::new(OpenAi::with_transport(KEY, canned.clone()).expect("a header value")),
        Box::new(Anthropic::with_transport(KEY, canned.clone()).expect("a header value")),
        Box::new(Gemini::with_transport(KEY, canned.clone()).expect("a header value")),
    ]
}

fn question() -> Call<ChatRequest> {
    Call::new("acme", ChatRequest::new("m").user("hello"))
}

/// Neither the error nor what caused it holds the key, or much of it.
fn is_clean(error: &Error) {
    let mut told = format!("{error} {error:?} {:?} {:?}", error.code(), error.request_id());
    let mut cause = error.source();
    while let Some(error) = cause {
        told += &format!("{error} {error:?}");
        cause = error.source();
    }
    assert!(!told.contains("plain-words"), "{told}");
}

async fn all_fail_cleanly(canned: Canned) {
    for client in clients(&canned) {
        is_clean(&client.chat(question()).await.map(|_| ()).expect_err("it is an error"));
        match client.chat_stream(question()).await {
            Err(error) => is_clean(&error),
            Ok(reply) => is_clean(&read(reply.output, reply.receipt).await.error.expect("it is an error")),
        }
    }
}

fn error_bodies() -> Vec<String> {
    let far = "x ".repeat(490);
    let mut bodies = Vec::new();
    for text in [KEY.to_owned(), format!("bad key {KEY}"), format!("{far}{KEY} {KEY} {KEY}")] {
        bodies.push(format!(r#"{{"error":{{"message":"{text}","type":"{KEY}","code":"{KEY}","status":"{KEY}"}}}}"#));
        bodies
            .push(format!(r#"{{"type":"error","error":{{"type":"{KEY}","message":"{text}"}},"request_id":"{KEY}"}}"#));
    }
    bodies
}

#[test]
fn no_key_is_in_a_refusal() {
    block_on(async {
        for body in error_bodies() {
            for status in [400, 401, 403, 429, 500] {
                let canned = Canned::answer("application/json", [body.clone()]);
                let status = StatusCode::from_u16(status).expect("a status");
                all_fail_cleanly(Canned { status, ..canned }).await;
            }
        }
    });
}

#[test]
fn no_key_is_in_an_error_inside_an_answer_or_a_stream() {
    block_on(async {
        for body in error_bodies() {
            all_fail_cleanly(Canned::answer("application/json", [body.clone()])).await;
            all_fail_cleanly(Canned::events([format!("event: error\ndata: {body}\n\n")])).await;
            let torn = format!("data: {}", &body[..body.len() - 3]);
            all_fail_cleanly(Canned::events([torn]).broken()).await;
        }
    });
}

#[test]
fn a_flood_of_calls_in_one_event_is_refused_and_not_searched_through() {
    block_on(async {
        let call = |n| format!(r#"{{"index":{n},"id":"c{n}","function":{{"name":"f","arguments":"{{}}"}}}}"#);
        let calls: Vec<String> = (0..2_000).map(call).collect();
        let event =
            format!(r#"data: {{"id":"1","choices":[{{"index":0,"delta":{{"tool_calls":[{}]}}}}]}}"#, calls.join(","));
        let error = Canned::events([format!("{event}\n\n")]).client().chat_stream(question()).await.map(|_| ());
        let error = error.expect_err("no answer has so many");
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert!(error.message().contains("tool calls"), "{error}");
    });
}
