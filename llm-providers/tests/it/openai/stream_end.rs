//! Tests of the end of a stream: several choices, `[DONE]`, and errors next to choices.

use llm_providers::{
    OpenAi,
    llm_core::{Call, Charge, ChatRequest, Error, ErrorKind, FinishReason, Operation, Provider, Usage, chat::Sampling},
};
use serde_json::{Value, json};

use crate::streaming::{Canned, Read, block_on, read};

use crate::codec::openai::{ChunkDecoder, Dialect, decode_chat};

fn chunk(choice: u32, text: &str, reason: Option<&str>) -> Value {
    json!({"id": "1", "model": "m", "choices": [{"index": choice, "delta": {"content": text}, "finish_reason": reason}]})
}

fn usage() -> Value {
    json!({"id": "1", "model": "m", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
}

/// Returns the result of these chunks, with or without `[DONE]`, for a request for `n` choices.
fn played(n: u32, chunks: &[Value], done: bool) -> Result<Read, Error> {
    let mut text: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    text.push_str(if done { "data: [DONE]\n\n" } else { "" });
    let client = OpenAi::with_dialect(Dialect::OPENAI, None, Canned::events([text])).unwrap();
    let request = ChatRequest::new("m").user("hi").sampling(Sampling { n: Some(n), ..Sampling::default() });
    block_on(async {
        let reply = client.chat_stream(Call::new("t", request)).await?;
        Ok(read(reply.output, reply.receipt).await)
    })
}

fn texts(read: &Read) -> Vec<String> {
    let response = read.response.as_ref().unwrap_or_else(|| panic!("{:?}", read.error));
    response.choices.iter().map(|choice| choice.text().into_owned()).collect()
}

#[test]
fn stream_end_requires_every_requested_choice() {
    let all = [
        chunk(0, "a", None),
        chunk(1, "b", None),
        chunk(0, "", Some("stop")),
        chunk(2, "c", None),
        chunk(1, "", Some("stop")),
        chunk(2, "", Some("stop")),
        usage(),
    ];
    for stated in 1..6 {
        let error = played(3, &all[..stated], false).unwrap().error.unwrap();
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Incomplete, Charge::Unknown), "{stated} chunks");
    }
    // The first choice has ended, and no other choice has begun.
    let first = [chunk(0, "a", Some("stop"))];
    assert_eq!(played(2, &first, false).unwrap().error.unwrap().kind(), ErrorKind::Incomplete);
    assert_eq!(texts(&played(1, &first, false).unwrap()), ["a"]);
    for (stated, done) in [(6, false), (7, false), (7, true)] {
        assert_eq!(texts(&played(3, &all[..stated], done).unwrap()), ["a", "b", "c"]);
    }
}

#[test]
fn stream_end_takes_error_of_choice() {
    let failed = json!({"error": {"message": "overloaded", "type": "server_error", "code": "server_is_overloaded"}});
    for done in [false, true] {
        let error = played(2, &[chunk(0, "a", Some("stop")), failed.clone()], done).unwrap().error.unwrap();
        assert_eq!(error.kind(), ErrorKind::Overloaded);
        let read = played(1, &[chunk(0, "a", Some("stop")), failed.clone()], done).unwrap();
        assert_eq!(texts(&read), ["a"], "that was all there was to come");
    }
}

#[test]
fn stream_end_accepts_fewer_choices_after_done() {
    let read = played(3, &[chunk(0, "a", Some("stop")), usage()], true).unwrap();
    assert_eq!((texts(&read), read.receipt.usage()), (vec!["a".to_owned()], Some(Usage::new(3, 2))));
    let body = json!({"choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}]});
    assert_eq!(decode_chat(body.to_string().as_bytes()).unwrap().output.choices.len(), 1);
}

#[test]
fn stream_end_without_reason_needs_usage() {
    let error = played(1, &[chunk(0, "a", None)], true).unwrap().error.unwrap();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Incomplete, Charge::Unknown));
    // After a usage, the stream is complete; this server states no finish reasons.
    let stated = played(1, &[chunk(0, "a", None), usage()], true).unwrap();
    let response = stated.response.unwrap();
    assert_eq!((stated.receipt.usage(), response.finish()), (Some(Usage::new(3, 2)), &FinishReason::Unknown));
    assert!(!ChatRequest::is_cacheable(&response));
    let cut = played(1, &[chunk(0, "a", None), usage()], false).unwrap();
    assert_eq!(cut.error.unwrap().charge(), Charge::Known(Usage::new(3, 2)), "what is known stays");
    // Only one of the two choices stated its finish reason.
    let half = [chunk(0, "a", Some("stop")), chunk(1, "b", None)];
    assert_eq!(played(2, &half, true).unwrap().error.unwrap().kind(), ErrorKind::Incomplete);
    assert_eq!(played(1, &[], true).unwrap_err().kind(), ErrorKind::Incomplete);
    let mut chunks = ChunkDecoder::default();
    chunks.decode("[DONE]").unwrap();
    assert!(chunks.is_done() && chunks.finish().is_err());
}

#[test]
fn stream_end_reads_error_of_groq() {
    let failed = json!({"id": "1", "model": "m", "choices": [], "x_groq": {"id": "req_1", "error": "over capacity",
        "usage": {"prompt_tokens": 3, "completion_tokens": 1}}});
    let error = played(1, &[chunk(0, "a", None), failed.clone()], true).unwrap().error.unwrap();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Server, "over capacity"));
    assert_eq!(error.charge(), Charge::Known(Usage::new(3, 1)));
    let whole = played(1, &[chunk(0, "a", Some("stop")), failed], true).unwrap();
    assert_eq!(texts(&whole), ["a"]);
    assert!(whole.response.unwrap().extra.get("x_groq").unwrap().get("error").is_some(), "it is not lost");
    let fine = json!({"id": "1", "model": "m", "choices": [], "x_groq": {"id": "req_1", "error": null}});
    assert_eq!(texts(&played(1, &[fine, chunk(0, "a", Some("stop"))], true).unwrap()), ["a"]);
}

#[test]
fn arguments_keep_digits_as_text_and_object() {
    let digits = r#"{"id": 123456789012345678901234567890, "x": 0.12345678901234567890123456789, "e": 1e400}"#;
    let call = |arguments: &str| {
        format!(r#"{{"index":0,"id":"c","type":"function","function":{{"name":"f","arguments":{arguments}}}}}"#)
    };
    for arguments in [serde_json::to_string(digits).unwrap(), digits.to_owned()] {
        let call = call(&arguments);
        let body = format!(
            r#"{{"choices":[{{"index":0,"message":{{"tool_calls":[{call}]}},"finish_reason":"tool_calls"}}]}}"#
        );
        let response = decode_chat(body.as_bytes()).unwrap().output;
        assert_eq!(&*response.tool_calls().next().unwrap().arguments, digits);
        let event = format!(
            r#"data: {{"id":"1","choices":[{{"index":0,"delta":{{"tool_calls":[{call}]}},"finish_reason":"tool_calls"}}]}}"#
        );
        let client = OpenAi::with_dialect(Dialect::OPENAI, None, Canned::events([event, "\n\n".to_owned()])).unwrap();
        let streamed = block_on(async {
            client.chat_stream(Call::new("t", ChatRequest::new("m").user("hi"))).await.unwrap().output.complete().await
        });
        assert_eq!(&*streamed.unwrap().tool_calls().next().unwrap().arguments, digits);
    }
}
