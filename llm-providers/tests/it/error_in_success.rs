//! Tests of errors inside responses with status 200. In every form, unary and streamed, they keep their text and their
//! kind.

use bytes::Bytes;
use llm_providers::{
    Anthropic, Gemini, OpenAi,
    llm_core::{Call, Charge, EmbedRequest, Error, ErrorKind, ManualClock, Provider},
};
use serde_json::{Value, json};

use crate::streaming::{Canned, block_on, play_to, question};

/// Time of the clients' clock: 2026-08-19T14:34:15Z.
const NOW: u64 = 1_787_150_055;

/// Returns a client of each format over the same response.
fn clients(canned: &Canned) -> [(&'static str, Box<dyn Provider>); 3] {
    let clock = ManualClock::at_unix(NOW);
    [
        ("openai", Box::new(OpenAi::with_transport("sk-test", canned.clone()).unwrap().clock(clock.clone()))),
        ("anthropic", Box::new(Anthropic::with_transport("sk-test", canned.clone()).unwrap().clock(clock.clone()))),
        ("gemini", Box::new(Gemini::with_transport("sk-test", canned.clone()).unwrap().clock(clock))),
    ]
}

/// Returns for each format the errors of a unary response with this body, and of a stream with this event only.
fn errors(body: &Value) -> Vec<(String, Error)> {
    let text = body.to_string();
    let whole = Canned::response("application/json", [Bytes::from(text.clone())]);
    let stream = Canned::events([format!("data: {text}\n\n")]);
    let named = Canned::events([format!("event: error\ndata: {text}\n\n")]);
    let mut errors = Vec::new();
    for (format, client) in clients(&whole) {
        errors.push((format!("{format}, whole"), block_on(client.chat(question())).unwrap_err()));
    }
    for (form, canned) in [("stream", stream), ("named event", named)] {
        for (format, client) in clients(&canned) {
            let error = match block_on(play_to(&*client)) {
                Ok(read) => read.error.unwrap(),
                Err(error) => error,
            };
            errors.push((format!("{format}, {form}"), error));
        }
    }
    errors
}

#[test]
fn error_in_success_keeps_words_and_kind() {
    use ErrorKind::{ContextTooLong, InvalidRequest, Server};
    let long = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.";
    for (body, message, kind) in [
        (json!({"error": {"message": long, "code": 400}}), long, ContextTooLong),
        (json!({"object": "error", "message": long, "type": "BadRequestError", "code": 400}), long, ContextTooLong),
        (
            json!({"object": "error", "message": "it broke", "type": "InternalServerError", "code": 500}),
            "it broke",
            Server,
        ),
        (json!({"type": "error", "message": "it broke"}), "it broke", Server),
        (json!({"detail": long}), long, ContextTooLong),
        (json!({"detail": {"message": long}}), long, ContextTooLong),
        (json!({"detail": [{"loc": ["body", "n"], "msg": "bad"}]}), "body.n: bad", InvalidRequest),
        (json!({"error": "it broke"}), "it broke", Server),
        (json!({"error": {"message": long}, "choices": [], "content": [], "candidates": []}), long, ContextTooLong),
        (json!({"error": "it broke", "choices": null, "content": null, "candidates": null}), "it broke", Server),
        (json!({"detail": "it broke", "choices": [], "content": [], "candidates": []}), "it broke", Server),
        (json!({"error": true, "detail": "it broke"}), "it broke", Server),
        (json!({"message": long, "code": 400}), long, ContextTooLong),
        (json!({"status": "failed", "message": "it broke"}), "it broke", Server),
        (json!({"errors": [{"message": "it broke"}]}), "it broke", Server),
    ] {
        for (form, error) in errors(&body) {
            assert_eq!((error.message(), error.kind()), (message, kind), "{form}: {body}");
        }
    }
}

#[test]
fn error_in_success_states_waiting_time() {
    let limited = |message: &str| json!({"message": message, "type": "rate_limit_error", "code": 429});
    let reset = |at: &str| {
        let headers = json!({"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": at});
        json!({"error": {"message": "Rate limit exceeded", "code": 429, "metadata": {"headers": headers}}})
    };
    for (body, seconds) in [
        (json!({"error": limited("Please retry after 33 seconds.")}), Some(33)),
        (json!({"error": limited("Retry after 1787150099000")}), Some(44)),
        (reset(&format!("{}000", NOW + 20)), Some(20)),
        (reset(&(NOW + 20).to_string()), Some(20)),
        (json!({"error": limited("Slow down.")}), None),
        (json!({"error": {"message": "bad, retry after 33 seconds", "code": 400}}), None),
    ] {
        for (form, error) in errors(&body) {
            assert_eq!(error.retry_after().map(|wait| wait.as_secs()), seconds, "{form}: {body}: {error:?}");
        }
    }
}

#[test]
fn error_in_success_array_states_wait() {
    let body = json!([{"error": {"status": "RESOURCE_EXHAUSTED", "message": "Please retry in 1.5s."}}]);
    for (form, error) in errors(&body).into_iter().filter(|(form, _)| form == "gemini, whole") {
        let found = (error.kind(), error.retry_after().map(|wait| wait.as_millis()));
        assert_eq!(found, (ErrorKind::RateLimited, Some(1_500)), "{form}");
    }
}

#[test]
fn error_in_success_without_name_has_kind() {
    use ErrorKind::{Authentication, NotFound, Overloaded, QuotaExhausted, RateLimited, Timeout};
    for (detail, kind) in [
        ("Invalid API key", Authentication),
        ("Unauthorized", Authentication),
        ("Rate limit exceeded", RateLimited),
        ("Too many requests, try again in 7 seconds", RateLimited),
        ("The model `m` does not exist", NotFound),
        ("The engine is overloaded", Overloaded),
        ("Insufficient account balance", QuotaExhausted),
        ("Request timed out", Timeout),
    ] {
        for (form, error) in errors(&json!({"detail": detail})) {
            assert_eq!((error.message(), error.kind()), (detail, kind), "{form}");
            let free = if kind == Timeout { Charge::Unknown } else { Charge::None };
            assert_eq!(error.charge(), free, "{form}");
            let seconds = error.retry_after().map(|wait| wait.as_secs());
            assert_eq!(seconds, detail.contains('7').then_some(7), "{form}");
        }
    }
}

#[test]
fn error_in_success_is_read_everywhere() {
    let message = "the model is overloaded";
    for body in [
        json!({"error": {"message": message}}),
        json!({"object": "error", "message": message}),
        json!({"detail": message}),
        json!({"error": {"message": message}, "data": [], "embeddings": [], "models": []}),
    ] {
        let canned = Canned::response("application/json", [Bytes::from(body.to_string())]);
        let embed = || Call::new("t", EmbedRequest::new("m", ["a"]));
        for (format, client) in clients(&canned) {
            if format != "anthropic" {
                assert_eq!(block_on(client.embed(embed())).unwrap_err().message(), message, "{format}: {body}");
            }
        }
        let openai = OpenAi::with_transport("sk-test", canned.clone()).unwrap();
        assert_eq!(block_on(openai.models(None)).unwrap_err().message(), message, "{body}");
        let anthropic = Anthropic::with_transport("sk-test", canned.clone()).unwrap();
        let gemini = Gemini::with_transport("sk-test", canned).unwrap();
        let request = question().body;
        assert_eq!(block_on(anthropic.count_tokens(&request, None)).unwrap_err().message(), message, "{body}");
        assert_eq!(block_on(gemini.count_tokens(&request, None)).unwrap_err().message(), message, "{body}");
        assert_eq!(block_on(gemini.models(None)).unwrap_err().message(), message, "{body}");
    }
}

#[test]
fn good_response_beside_empty_error_stands() {
    for error in [json!(null), json!(false), json!(""), json!({}), json!([])] {
        let choice = json!([{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]);
        let body = json!({"choices": choice, "error": error, "detail": error}).to_string();
        let whole = Canned::response("application/json", [Bytes::from(body)]);
        assert_eq!(block_on(whole.client().chat(question())).unwrap().output.text(), "hi", "{error}");
        let choice = json!([{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]);
        let body = json!({"choices": choice, "error": error, "detail": error});
        let stream = Canned::events([format!("data: {body}\n\ndata: [DONE]\n\n")]);
        let response = block_on(play_to(&stream.client())).unwrap().response.unwrap();
        assert_eq!(response.text(), "hi", "{error}");
    }
}

#[test]
fn error_in_success_knows_streams_by_beginning() {
    let kinds = ["text/event-stream", "application/json", "text/plain", "application/octet-stream"];
    let chunk = json!({"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]});
    let whole = json!({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]});
    let error = json!({"object": "error", "message": "it broke"});
    for kind in kinds {
        for text in [format!("data: {chunk}\n\ndata: [DONE]\n\n"), whole.to_string()] {
            let canned = Canned::response(kind, [Bytes::from(text.clone())]);
            let read = block_on(play_to(&canned.client())).unwrap();
            assert_eq!(read.response.unwrap().text(), "hi", "{kind}: {text}");
        }
        let canned = Canned::response(kind, [Bytes::from(error.to_string())]);
        let error = block_on(play_to(&canned.client())).map(drop).unwrap_err();
        assert_eq!(error.message(), "it broke", "{kind}");
    }
}
