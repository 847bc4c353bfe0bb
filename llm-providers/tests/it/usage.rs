//! Tests of usage as servers state it: in every spelling, in parts, repeatedly, and unusable.

mod anthropic;
mod properties;

use llm_providers::{
    Gemini, Ledger, OpenAi,
    ledger::Row,
    llm_core::{Provider, Usage, into_provider, into_service, layer::Accounting, price::PriceTable},
    prices,
};
use serde_json::{Value, json};
use tower::ServiceBuilder;

use crate::streaming::{Canned, block_on, play_to, question};

use crate::codec::openai::{decode_chat, decode_embeddings};

/// Creates a usage from counts in the order input, output, cache read, cache write, reasoning.
fn counts([input, output, cache_read, cache_write, reasoning]: [u64; 5]) -> Usage {
    Usage { cache_read, cache_write, reasoning, ..Usage::new(input, output) }
}

fn message(usage: &Value) -> Value {
    json!({"id": "1", "model": "m", "usage": usage,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}]})
}

fn chunk(usage: &Value) -> Value {
    json!({"id": "1", "model": "m", "choices": [], "usage": usage})
}

fn said() -> Value {
    json!({"id": "1", "model": "m", "choices": [{"index": 0, "delta": {"content": "yes"}, "finish_reason": "stop"}]})
}

/// Returns the accounting of a response that a server of OpenAI's format streams in these chunks.
fn openai(chunks: &[Value]) -> Accounting {
    accounting(&OpenAi::with_transport("sk-test", canned(chunks)).unwrap())
}

/// Returns the accounting of a response that Gemini streams with these usages.
fn gemini(usages: &[Value]) -> Accounting {
    let candidate = json!({"content": {"parts": [{"text": "yes"}]}, "finishReason": "STOP"});
    let chunk = |usage: &Value| json!({"candidates": [candidate], "usageMetadata": usage});
    let chunks: Vec<Value> = usages.iter().map(chunk).collect();
    accounting(&Gemini::with_transport("key-test", canned(&chunks)).unwrap())
}

fn canned(chunks: &[Value]) -> Canned {
    Canned::events(chunks.iter().map(|chunk| format!("data: {chunk}\n\n")))
}

fn accounting(client: &impl Provider) -> Accounting {
    let read = block_on(play_to(client)).unwrap();
    assert!(read.error.is_none(), "{:?}", read.error);
    read.receipt.accounting()
}

/// Returns the ledger's totals after one call.
fn booked(client: impl Provider + 'static, streamed: bool) -> Row {
    let ledger = Ledger::new(prices::all());
    let client = into_service(std::sync::Arc::new(client));
    let stack = into_provider(ServiceBuilder::new().layer(ledger.attempts()).service(client));
    block_on(async {
        if streamed {
            drop(stack.chat_stream(question()).await.unwrap().output.complete().await.unwrap());
        } else {
            drop(stack.chat(question()).await.unwrap());
        }
    });
    ledger.snapshot().total().clone()
}

#[test]
fn usage_of_compatible_servers_reads_alike() {
    let details = |name: &str, count: u64| json!({"prompt_tokens": 100, "completion_tokens": 9, "prompt_tokens_details": {name: count}});
    let beside = |name: &str, count: u64| json!({"prompt_tokens": 100, "completion_tokens": 9, name: count});
    let reasoning = |completion: u64, reasoning: u64, total: Option<u64>| {
        json!({"prompt_tokens": 12, "completion_tokens": completion, "total_tokens": total,
            "completion_tokens_details": {"reasoning_tokens": reasoning}})
    };
    let read = counts([100, 9, 60, 0, 0]);
    let written = counts([100, 9, 0, 60, 0]);
    for (usage, expected) in [
        (details("cached_tokens", 60), read),
        (beside("cached_tokens", 60), read),
        (beside("num_cached_tokens", 60), read),
        (beside("prompt_cache_hit_tokens", 60), read),
        (beside("cache_read_input_tokens", 60), read),
        (beside("cached_tokens", 101), counts([100, 9, 0, 0, 0])),
        (details("cache_write_tokens", 60), written),
        (details("cache_creation_tokens", 60), written),
        (beside("cache_creation_input_tokens", 60), written),
        (beside("num_search_queries", 3), Usage { searches: 3, ..Usage::new(100, 9) }),
        (beside("server_tool_use", 3), Usage::new(100, 9)),
        (reasoning(1, 386, Some(399)), counts([12, 387, 0, 0, 386])),
        (reasoning(387, 386, Some(399)), counts([12, 387, 0, 0, 386])),
        (reasoning(10, 11, Some(22)), counts([12, 10, 0, 0, 10])),
        (reasoning(1, 386, None), counts([12, 387, 0, 0, 386])),
        (json!({"prompt_tokens": 19.0, "completion_tokens": 2.0, "cached_tokens": 12.0}), counts([19, 2, 12, 0, 0])),
        (json!({"prompt_tokens": "19", "completion_tokens": "2"}), Usage::new(19, 2)),
    ] {
        let decoded = decode_chat(message(&usage).to_string().as_bytes()).unwrap();
        assert_eq!((decoded.usage, decoded.unusable_usage), (Some(expected), None), "{usage}");
        assert_eq!(openai(&[said(), chunk(&usage)]).usage, Some(expected), "{usage} streamed");
        let mut last = said();
        last["choices"][0]["usage"] = usage.clone();
        assert_eq!(openai(&[last]).usage, Some(expected), "{usage} in a choice");
    }
}

#[test]
fn usage_of_litellm_repeats_one_write() {
    let usage = json!({"prompt_tokens": 33_000, "completion_tokens": 20, "total_tokens": 33_020,
        "prompt_tokens_details": {"cached_tokens": 500, "cache_creation_tokens": 32_435},
        "cache_read_input_tokens": 500, "cache_creation_input_tokens": 32_435});
    let decoded = decode_chat(message(&usage).to_string().as_bytes()).unwrap();
    assert_eq!(decoded.usage, Some(counts([33_000, 20, 500, 32_435, 0])));
    assert!(decoded.output.extra.get("usage").is_none(), "nothing is left to say");
}

#[test]
fn usage_reads_cached_and_written_beyond_prompt() {
    let usage = json!({"prompt_tokens": 5_000, "completion_tokens": 10, "cost": 0.0042,
        "prompt_tokens_details": {"cached_tokens": 4_000, "cache_write_tokens": 3_000}});
    let decoded = decode_chat(message(&usage).to_string().as_bytes()).unwrap();
    assert_eq!(decoded.usage, Some(counts([5_000, 10, 4_000, 3_000, 0])));
    let rows = r#"[{"input": "1", "cache_read": "0.1", "cache_write": "1.25", "output": "5"}]"#;
    let table = format!(r#"{{"as_of": "2026-12-01", "models": {{"m": {{"rows": {rows}}}}}}}"#);
    let cost = PriceTable::from_json(&table).unwrap().cost("m", &decoded.usage.unwrap()).unwrap();
    assert_eq!(Some(cost), decoded.billed, "the stated cost agrees");
}

#[test]
fn usage_without_prompt_is_unknown() {
    let zero = json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0});
    for usage in [zero.clone(), json!({"prompt_tokens": 0, "completion_tokens": 26}), json!({"completion_tokens": 26})]
    {
        assert_eq!(decode_chat(message(&usage).to_string().as_bytes()).unwrap().usage, None, "{usage}");
        assert_eq!(openai(&[said(), chunk(&usage)]).usage, None, "{usage} streamed");
    }
    let vectors = json!({"data": [{"embedding": [0.5]}], "usage": zero});
    assert_eq!(decode_embeddings(vectors.to_string().as_bytes(), 1).unwrap().usage, None);
    for usage in [json!({"candidatesTokenCount": 26}), json!({"promptTokenCount": 0, "toolUsePromptTokenCount": 7})] {
        assert_eq!(gemini(&[usage]).usage, None);
    }
    let row = booked(OpenAi::with_transport("sk-test", canned(&[said(), chunk(&zero)])).unwrap(), true);
    assert_eq!((row.unconfirmed.count, row.paid.nanos()), (1, 0), "it may have cost something");
}

#[test]
fn usage_of_stream_survives_later_zero() {
    let (stated, zero) = (
        json!({"prompt_tokens": 100_000, "completion_tokens": 1_000}),
        json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
    );
    for order in [[&stated, &zero], [&zero, &stated]] {
        assert_eq!(openai(&[said(), chunk(order[0]), chunk(order[1])]).usage, Some(Usage::new(100_000, 1_000)));
    }
    let usages = [json!({"promptTokenCount": 9, "candidatesTokenCount": 1}), json!({"candidatesTokenCount": 7})];
    assert_eq!(gemini(&usages).usage, Some(Usage::new(9, 7)));
}

#[test]
fn usage_unusable_is_named_and_unknown() {
    for (count, name) in [
        (json!(u64::MAX), "18446744073709551615"),
        (json!(-5), "-5"),
        (json!(19.5), "19.5"),
        (json!(1e30), "1e+30"),
        (json!({}), "not a number"),
    ] {
        for field in ["prompt_tokens", "completion_tokens"] {
            let mut usage = json!({"prompt_tokens": 9, "completion_tokens": 2});
            usage[field] = count.clone();
            let accounting = openai(&[said(), chunk(&usage)]);
            assert_eq!((accounting.usage, accounting.unusable_usage), (None, Some(format!("{field}: {name}").into())));
            let decoded = decode_chat(message(&usage).to_string().as_bytes()).unwrap();
            assert_eq!((decoded.usage, decoded.unusable_usage), (None, Some(format!("{field}: {name}").into())));
            assert_eq!(decoded.output.extra.get("usage").unwrap()[field], count, "it stays in the response");
            let row = booked(OpenAi::with_transport("sk-test", canned(&[said(), chunk(&usage)])).unwrap(), true);
            assert_eq!((row.usage_paid, row.unconfirmed.count), (Usage::default(), 1));
        }
        let accounting = gemini(&[json!({"promptTokenCount": 9, "candidatesTokenCount": count})]);
        assert_eq!(
            (accounting.usage, accounting.unusable_usage),
            (None, Some(format!("candidatesTokenCount: {name}").into()))
        );
    }
}

#[test]
fn usage_unusable_later_keeps_earlier_one() {
    let chunks = [
        said(),
        chunk(&json!({"prompt_tokens": 9, "completion_tokens": 2})),
        chunk(&json!({"prompt_tokens": u64::MAX})),
    ];
    let accounting = openai(&chunks);
    assert_eq!(accounting.usage, Some(Usage::new(9, 2)));
    assert!(accounting.unusable_usage.is_some());
}
