//! Tests of keys that a vendor repeats in its responses: they are redacted everywhere.

use std::error::Error as _;

use http::StatusCode;
use llm_providers::{
    Anthropic, Gemini, OpenAi,
    llm_core::{Call, Charge, ChatRequest, EmbedRequest, Error, ErrorKind, Provider},
};

use crate::streaming::{Canned, block_on, read};

/// Key in a form that no vendor uses.
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

/// Checks that neither the error nor its causes contain the key, or a large part of it.
fn is_clean(error: &Error) {
    let mut stated = format!("{error} {error:?} {:?} {:?}", error.code(), error.request_id());
    let mut cause = error.source();
    while let Some(error) = cause {
        stated += &format!("{error} {error:?}");
        cause = error.source();
    }
    assert!(!stated.contains("plain-words"), "{stated}");
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
fn secrets_are_redacted_in_errors() {
    block_on(async {
        for body in error_bodies() {
            for status in [400, 401, 403, 429, 500] {
                let canned = Canned::response("application/json", [body.clone()]);
                let status = StatusCode::from_u16(status).expect("a status");
                all_fail_cleanly(Canned { status, ..canned }).await;
            }
        }
    });
}

#[test]
fn secrets_are_redacted_in_inner_errors() {
    block_on(async {
        for body in error_bodies() {
            all_fail_cleanly(Canned::response("application/json", [body.clone()])).await;
            all_fail_cleanly(Canned::events([format!("event: error\ndata: {body}\n\n")])).await;
            let torn = format!("data: {}", &body[..body.len() - 3]);
            all_fail_cleanly(Canned::events([torn]).broken()).await;
        }
    });
}

#[test]
fn secrets_search_refuses_flood_of_calls() {
    block_on(async {
        let call = |n| format!(r#"{{"index":{n},"id":"c{n}","function":{{"name":"f","arguments":"{{}}"}}}}"#);
        let calls: Vec<String> = (0..2_000).map(call).collect();
        let event =
            format!(r#"data: {{"id":"1","choices":[{{"index":0,"delta":{{"tool_calls":[{}]}}}}]}}"#, calls.join(","));
        let error = Canned::events([format!("{event}\n\n")]).client().chat_stream(question()).await.map(|_| ());
        let error = error.expect_err("no response has so many");
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert!(error.message().contains("tool calls"), "{error}");
    });
}

#[test]
fn secrets_are_redacted_in_request_ids() {
    block_on(async {
        let body = format!(r#"{{"error":{{"message":"bad {KEY}"}}}}"#);
        let refusal = Canned { status: StatusCode::UNAUTHORIZED, ..Canned::response("application/json", [body]) };
        let client = OpenAi::keyless_with_transport(refusal.clone()).expect("it is right");
        let client = client.header("authorization", &format!("Bearer {KEY}")).expect("a header");
        is_clean(&client.chat(question()).await.map(|_| ()).expect_err("it is refused"));
        for value in [format!("Bearer {KEY} "), format!("Token {KEY}, realm"), format!("{KEY}; Path=/")] {
            let client = OpenAi::keyless_with_transport(refusal.clone()).expect("it is right");
            let client = client.header("x-gate", &value).expect("a header");
            is_clean(&client.chat(question()).await.map(|_| ()).expect_err("it is refused"));
        }

        let headers = vec![("content-type", "application/json"), ("x-request-id", KEY), ("request-id", KEY)];
        all_fail_cleanly(Canned { headers, ..refusal }).await;
    });
}

#[test]
fn error_event_always_ends_stream() {
    block_on(async {
        let half = r#"data: {"id":"a","model":"m","choices":[{"index":0,"delta":{"content":"half"}}]}"#;
        let error = "event: error\ndata: {\"message\":\"boom\",\"code\":500}";
        let client = Canned::events([format!("{half}\n\n{error}\n\ndata: [DONE]\n\n")]).client();
        let reply = client.chat_stream(question()).await.expect("it begins");
        let error = read(reply.output, reply.receipt).await.error.expect("it is broken off");
        assert!(error.message().contains("boom"), "{error}");
    });
}

#[test]
fn error_in_choice_fails_response() {
    block_on(async {
        let choice =
            r#"{"index":0,"message":{"content":""},"finish_reason":null,"error":{"code":429,"message":"limited"}}"#;
        let body = format!(r#"{{"id":"a","choices":[{choice}]}}"#);
        let error = Canned::response("application/json", [body]).client().chat(question()).await.map(|_| ());
        assert_eq!(error.expect_err("it failed").kind(), ErrorKind::RateLimited);
        for vector in ["[1e300]", "[]"] {
            let body = format!(r#"{{"data":[{{"index":0,"embedding":{vector}}}],"model":"m"}}"#);
            let client = Canned::response("application/json", [body]).client();
            let error = client.embed(Call::new("acme", EmbedRequest::new("m", ["x"]))).await.map(|_| ());
            assert_eq!(error.expect_err("no vector").kind(), ErrorKind::Malformed, "{vector}");
        }
    });
}

#[test]
fn numbers_beyond_bounds_do_not_panic() {
    block_on(async {
        let usage = r#"{"prompt_tokens":18446744073709551615,"completion_tokens":2,"total_tokens":7}"#;
        let body = format!(
            r#"{{"choices":[{{"index":0,"message":{{"content":"a"}},"finish_reason":"stop"}}],"usage":{usage}}}"#
        );
        assert!(Canned::response("application/json", [body]).client().chat(question()).await.is_ok());
        let beside = r#"{"choices":null,"error":{"code":429,"message":"slow down","type":"rate_limit_error"}}"#;
        let error = Canned::response("application/json", [beside]).client().chat(question()).await.map(|_| ());
        assert_eq!(error.expect_err("it is a refusal").kind(), ErrorKind::RateLimited);
    });
}

#[test]
fn error_beside_null_response_is_error() {
    block_on(async {
        let body =
            |field: &str, kind: &str| format!(r#"{{"{field}":null,"error":{{"type":"{kind}","message":"slow"}}}}"#);
        let canned = Canned::response("application/json", [body("data", "rate_limit_error")]);
        let error = canned.client().embed(Call::new("acme", EmbedRequest::new("m", ["x"]))).await.map(|_| ());
        assert_eq!(error.expect_err("it is a refusal").kind(), ErrorKind::RateLimited);
        let canned = Canned::response("application/json", [body("content", "overloaded_error")]);
        let client = Anthropic::with_transport(KEY, canned).expect("a header value");
        let error = client.chat(question()).await.map(|_| ()).expect_err("it is a refusal");
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Overloaded, Charge::None));
    });
}
