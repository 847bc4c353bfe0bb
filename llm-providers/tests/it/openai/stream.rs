//! Tests of every documented form of a stream, with chunks written for these tests and cut at every position.

use bytes::Bytes;
use llm_providers::llm_core::{Charge, ChatEvent, ChatResponse, ErrorKind, FinishReason, Part, Provider, Usage};
use serde_json::{Value, json};

use crate::streaming::{Canned, Read, block_on, play, question, seams};

use crate::codec::openai::decode_chat;

fn chunk(choices: Value) -> Value {
    json!({"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m-1", "service_tier": "default",
        "system_fingerprint": null, "obfuscation": "x7", "choices": choices, "usage": null})
}

fn delta(index: u32, delta: Value) -> Value {
    chunk(json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": null}]))
}

fn end(index: u32, reason: &str) -> Value {
    chunk(json!([{"index": index, "delta": {}, "logprobs": null, "finish_reason": reason}]))
}

fn usage(input: u64, output: u64) -> Value {
    let mut chunk = chunk(json!([]));
    chunk["usage"] = json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
    chunk
}

fn bytes(chunks: &[Value], done: bool) -> String {
    let mut text: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    if done {
        text.push_str("data: [DONE]\n\n");
    }
    text
}

fn whole(text: impl Into<Bytes>) -> Read {
    block_on(play(Canned::events([text.into()]))).unwrap()
}

fn response(chunks: &[Value]) -> ChatResponse {
    whole(bytes(chunks, true)).response.unwrap()
}

fn typical() -> Vec<Value> {
    let role = json!({"role": "assistant", "content": "", "refusal": null});
    vec![
        delta(0, role),
        delta(0, json!({"content": "Año "})),
        delta(0, json!({"content": "漢🦀"})),
        end(0, "stop"),
        usage(9, 4),
    ]
}

#[test]
fn openai_stream_equals_unary_response() {
    let read = whole(bytes(&typical(), true));
    let unary = json!({"id": "c1", "object": "chat.completion", "created": 7, "model": "m-1", "service_tier": "default",
        "system_fingerprint": null, "choices": [{"index": 0, "logprobs": null, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Año 漢🦀", "refusal": null, "annotations": []}}]});
    assert_eq!(read.response.unwrap(), decode_chat(unary.to_string().as_bytes()).unwrap().output);
    let extras = read.events.iter().filter(|event| matches!(event, ChatEvent::Extra { .. })).count();
    assert_eq!(extras, 2, "what repeats is said once");
    let accounting = read.receipt.accounting();
    assert_eq!((accounting.usage, accounting.service_tier.as_deref()), (Some(Usage::new(9, 4)), Some("default")));
    assert_eq!((accounting.model.as_deref(), accounting.request_id.as_deref()), (Some("m-1"), Some("req_1")));
    assert_eq!(accounting.provider.as_deref(), Some("openai"));
}

#[test]
fn openai_stream_reads_any_byte_splits() {
    for (name, separator) in [("LF", "\n"), ("CR", "\r"), ("CRLF", "\r\n")] {
        let text = format!("\u{feff}: waiting\n\n{}", bytes(&typical(), true)).replace('\n', separator);
        let text = Bytes::from(text);
        let expected = whole(text.clone());
        assert_eq!(expected.response.as_ref().unwrap().text(), "Año 漢🦀", "{name}");
        // Within lines, the result does not depend on the separator.
        let places: Vec<_> = if separator == "\n" { (0..text.len()).collect() } else { seams(&text).collect() };
        block_on(async {
            for at in places {
                let read = play(Canned::events([text.slice(..at), text.slice(at..)])).await.unwrap();
                assert_eq!(read.events, expected.events, "{name} at {at}");
            }
        });
        let bytes = (0..text.len()).map(|at| text.slice(at..=at));
        assert_eq!(block_on(play(Canned::events(bytes))).unwrap().events, expected.events, "{name}");
    }
}

#[test]
fn openai_stream_ended_early_is_incomplete() {
    let text = Bytes::from(bytes(&typical(), true));
    // After this byte, the choice has stated its finish reason. Only the end of a line may be missing.
    let stated = text.windows(6).position(|window| window == b"\"stop\"").unwrap();
    let stated = stated + text[stated..].iter().position(|byte| *byte == b'\n').unwrap();
    for at in 0..text.len() {
        let read = block_on(play(Canned::events([text.slice(..at)])));
        let error = match read {
            Err(error) => Some(error),
            Ok(read) => {
                assert_eq!(read.response.is_some(), read.error.is_none());
                read.error
            }
        };
        match error {
            None => assert!(at >= stated, "taken for whole at {at}"),
            Some(error) => {
                assert!(at != stated, "it had stated its end");
                assert_eq!(error.kind(), ErrorKind::Incomplete, "at {at}: {error}");
                assert_eq!(error.request_id(), Some("req_1"));
            }
        }
    }
}

#[test]
fn openai_stream_broken_before_done_fails() {
    let text = bytes(&typical(), false);
    let read = block_on(play(Canned::events([text.clone()]).broken())).unwrap();
    let error = read.error.unwrap();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Incomplete, Charge::Known(Usage::new(9, 4))));
    let read = block_on(play(Canned::events([text + "data: [DONE]\n\n"]).broken())).unwrap();
    assert!(read.response.is_some() && read.error.is_none());
    let early = bytes(&typical()[..2], false);
    let error = block_on(play(Canned::events([early]).broken())).unwrap().error.unwrap();
    assert_eq!(error.charge(), Charge::Unknown);
}

#[test]
fn openai_stream_joins_tool_call_fragments() {
    let call = |index: u32, fields: Value| {
        let mut call = fields;
        call["index"] = json!(index);
        delta(0, json!({"tool_calls": [call]}))
    };
    let read = whole(bytes(
        &[
            delta(0, json!({"role": "assistant", "content": null})),
            call(0, json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}})),
            call(0, json!({"function": {"arguments": "{\"x\""}})),
            call(1, json!({"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}})),
            call(0, json!({"function": {"arguments": ": nonsense"}})),
            end(0, "tool_calls"),
        ],
        true,
    ));
    let response = read.response.unwrap();
    let calls: Vec<_> = response.tool_calls().map(|call| (&*call.id, &*call.name, &*call.arguments)).collect();
    assert_eq!(calls, [("a", "f", "{\"x\": nonsense"), ("b", "g", "{}")]);
    assert_eq!(response.finish(), &FinishReason::ToolCalls);
}

#[test]
fn openai_stream_keeps_odd_tool_calls_apart() {
    let of = |call: Value| delta(0, json!({"tool_calls": [call]}));
    // The cases are: one index for all calls, complete calls, and no index at all.
    let same = response(&[
        of(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "1"}})),
        of(json!({"index": 0, "id": "b", "function": {"name": "g", "arguments": "2"}})),
        of(json!({"index": 0, "id": "b", "function": {"arguments": "3"}})),
        end(0, "tool_calls"),
    ]);
    let seen: Vec<_> = same.tool_calls().map(|call| (&*call.name, &*call.arguments)).collect();
    assert_eq!(seen, [("f", "1"), ("g", "23")]);
    // A call with unknown fields, and a call whose name arrives late, are emitted as complete calls.
    let held = response(&[
        of(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "1"}, "extra_content": {"s": 1}})),
        of(json!({"index": 0, "function": {"arguments": "2"}})),
        of(json!({"index": 1, "id": "b", "function": {}})),
        of(json!({"index": 1, "function": {"name": "g", "arguments": {"k": 1}}})),
        of(json!({"index": 2, "id": "c", "type": "custom", "custom": {"name": "h", "input": "te"}})),
        of(json!({"index": 2, "custom": {"input": "xt"}})),
        end(0, "tool_calls"),
    ]);
    let calls: Vec<_> = held.tool_calls().collect();
    assert_eq!((&*calls[0].arguments, calls[0].extra.get("extra_content")), ("12", Some(&json!({"s": 1}))));
    assert_eq!((&*calls[1].name, &*calls[1].arguments), ("g", "{\"k\":1}"));
    assert_eq!((&*calls[2].arguments, calls[2].extra.get("type")), ("text", Some(&json!("custom"))));
    // This is the deprecated form of a function call.
    let old = response(&[
        delta(0, json!({"function_call": {"name": "f", "arguments": "{"}})),
        delta(0, json!({"function_call": {"arguments": "}"}})),
        end(0, "function_call"),
    ]);
    assert_eq!(old.tool_calls().map(|call| &*call.arguments).collect::<Vec<_>>(), ["{}"]);
}

#[test]
fn openai_stream_keeps_late_call_fields() {
    let of = |call: Value| delta(0, json!({"tool_calls": [call]}));
    let response = response(&[
        of(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}})),
        of(json!({"index": 0, "signature": "s"})),
        end(0, "tool_calls"),
    ]);
    let kept = response.choices[0].message_extra.get("tool_calls");
    assert_eq!(kept, Some(&json!([{"index": 0, "signature": "s"}])));
}

#[test]
fn openai_stream_choices_interleave() {
    let text = |index, text: &str| delta(index, json!({"content": text}));
    let response =
        response(&[text(1, "b"), text(0, "a"), text(1, "B"), text(0, "A"), end(1, "length"), end(0, "stop")]);
    let seen: Vec<_> =
        response.choices.iter().map(|choice| (choice.text().into_owned(), choice.finish.clone())).collect();
    assert_eq!(seen, [("aA".to_owned(), FinishReason::Stop), ("bB".to_owned(), FinishReason::Length)]);
    let one_open = bytes(&[text(0, "a"), text(1, "b"), end(0, "stop")], false);
    assert_eq!(whole(one_open).error.unwrap().kind(), ErrorKind::Incomplete);
}

#[test]
fn openai_stream_gives_reasoning_refusals_and_parts() {
    let response = response(&[
        delta(0, json!({"reasoning_content": "2 and"})),
        delta(0, json!({"reasoning_content": " 2"})),
        delta(0, json!({"content": [{"type": "text", "text": "4"}, {"type": "image", "url": "u"}]})),
        delta(0, json!({"refusal": "no "})),
        delta(0, json!({"refusal": "more"})),
        end(0, "stop"),
    ]);
    let choice = &response.choices[0];
    assert_eq!((choice.reasoning(), &*choice.text(), choice.refusal()), ("2 and 2".into(), "4", Some("no more")));
    assert!(choice.parts.iter().any(|part| matches!(part, Part::Other { value } if value["url"] == "u")));
}

#[test]
fn openai_stream_joins_logprobs_and_unknown_fields() {
    let with = |token: &str| {
        let mut chunk = delta(0, json!({"content": token, "mood": "calm"}));
        chunk["choices"][0]["logprobs"] = json!({"content": [{"token": token}], "refusal": null});
        chunk["provider"] = json!("p");
        chunk
    };
    let response = response(&[delta(0, json!({"role": "assistant"})), with("a"), with("b"), end(0, "stop")]);
    let choice = &response.choices[0];
    let logprobs = json!({"content": [{"token": "a"}, {"token": "b"}], "refusal": null});
    assert_eq!(choice.extra.get("logprobs"), Some(&logprobs));
    assert_eq!(choice.message_extra.get("mood"), Some(&json!("calm")));
    assert_eq!(response.extra.get("provider"), Some(&json!("p")));
    assert_eq!(response.extra.get("object").or(response.extra.get("obfuscation")), None);
}

#[test]
fn openai_stream_reads_compatible_servers() {
    // Azure sends an empty first chunk. Mistral and Groq send the usage with the last choice. Groq's older streams
    // state it in a field of their own.
    let azure =
        json!({"id": "", "model": "", "object": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]});
    let mut last = end(0, "stop");
    last["usage"] = json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5});
    let read = whole(bytes(&[azure, delta(0, json!({"content": "a"})), last], true));
    assert_eq!(read.receipt.usage(), Some(Usage::new(3, 2)));
    let response = read.response.unwrap();
    assert_eq!((&*response.id, &*response.model), ("c1", "m-1"));
    assert!(response.extra.get("prompt_filter_results").is_some());

    let groq = json!({"choices": [{"delta": {}, "index": 0, "finish_reason": "stop"}],
        "x_groq": {"id": "r", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}});
    assert_eq!(whole(bytes(&[groq], true)).receipt.usage(), Some(Usage::new(1, 2)));
}

#[test]
fn openai_stream_ends_at_error() {
    let error = json!({"error": {"message": "failed", "type": "server_error", "code": null}});
    let head = block_on(play(Canned::events([bytes(std::slice::from_ref(&error), true)]))).unwrap_err();
    assert_eq!((head.kind(), head.charge()), (ErrorKind::Server, Charge::Unknown));
    let busy = json!({"error": {"message": "busy", "type": "overloaded_error"}});
    let head = block_on(play(Canned::events([bytes(&[busy], true)]))).unwrap_err();
    assert_eq!((head.kind(), head.charge()), (ErrorKind::Overloaded, Charge::None));
    let read = whole(bytes(&[delta(0, json!({"content": "a"})), error, end(0, "stop")], true));
    let error = read.error.unwrap();
    assert_eq!((error.kind(), error.message(), error.charge()), (ErrorKind::Server, "failed", Charge::Unknown));
    assert!(read.response.is_none() && read.receipt.usage().is_none());
}

#[test]
fn openai_stream_invalid_beginning_is_malformed() {
    for (kind, body, why) in [
        ("text/event-stream", "data: nonsense\n\ndata: [DONE]\n\n", "not JSON"),
        ("text/event-stream", "data: {\"choices\": [3]}\n\n", "not an object"),
        ("text/html; charset=utf-8", "<!DOCTYPE html><html></html>", "HTML"),
        ("application/json", "{}", "no choices"),
    ] {
        let error = block_on(play(Canned::response(kind, [body]))).unwrap_err();
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Malformed, Charge::Unknown), "{error}");
        assert!(error.message().contains(why), "{error}");
    }
    let page = block_on(play(Canned::response("text/plain", ["<html></html>"]))).unwrap_err();
    assert_eq!(page.kind(), ErrorKind::Incomplete);
}

#[test]
fn openai_stream_invalid_utf8_is_malformed() {
    let mut text = bytes(&typical()[..2], false).into_bytes();
    text.extend_from_slice(b"data: {\"a\": \"\xff\"}\n\n");
    let error = whole(text).error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(error.message().contains("UTF-8"), "{error}");
}

#[test]
fn openai_stream_reads_unary_response() {
    let unary = json!({"id": "c", "model": "m", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2}});
    let read = block_on(play(Canned::response("application/json", [unary.to_string()]))).unwrap();
    assert_eq!(
        (read.response.unwrap().text().into_owned(), read.receipt.usage()),
        ("hi".into(), Some(Usage::new(1, 2)))
    );
}

#[test]
fn openai_stream_sizes_are_bounded() {
    let long = |length: usize| bytes(&[delta(0, json!({"content": "x".repeat(length)})), end(0, "stop")], true);
    let run = |text: String, change: fn(llm_providers::OpenAi<Canned>) -> llm_providers::OpenAi<Canned>| {
        let pieces: Vec<_> = text.into_bytes().chunks(999).map(Bytes::copy_from_slice).collect();
        let client = change(Canned::events(pieces).client());
        block_on(async move {
            let reply = client.chat_stream(question()).await?;
            match crate::streaming::read(reply.output, reply.receipt).await.error {
                Some(error) => Err(error),
                None => Ok(()),
            }
        })
    };
    assert!(run(long(900_000), |client| client).is_ok());
    let error = run(long(1 << 20), |client| client).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(error.message().contains("1048576 bytes: see max_event_bytes"), "{error}");
    let error = run(long(5_000), |client| client.max_body_bytes(4_000)).unwrap_err();
    assert!(error.message().contains("4000 bytes: see max_body_bytes"), "{error}");
    let many = ": waiting\n\n".repeat(1_000) + &long(10);
    assert!(run(many, |client| client.max_event_bytes(400)).is_ok(), "only one event at a time counts");
}

#[test]
fn openai_stream_rate_limit_states_wait() {
    let error = json!({"error": {"message": "Limit reached. Please try again in 1.4s.", "type": "tokens",
        "code": "rate_limit_exceeded"}});
    let error = block_on(play(Canned::events([format!("data: {error}\n\n")]))).unwrap_err();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::RateLimited, Charge::None));
    assert_eq!(error.retry_after(), Some(std::time::Duration::from_millis(1_400)));
}
