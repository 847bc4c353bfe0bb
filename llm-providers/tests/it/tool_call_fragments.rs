//! Tests of fragments of tool calls in streams of servers that number them unusually.

use llm_providers::llm_core::{ChatRequest, ChatResponse, Operation};
use serde_json::{Value, json};

use crate::streaming::{Canned, block_on, play};

/// Returns the response that these fragments make, each in a chunk of its own with `reason`.
fn response(fragments: &[Value], reason: Option<&str>) -> ChatResponse {
    let chunk = |fragment: &Value| {
        let delta = json!({"tool_calls": [fragment]});
        format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}))
    };
    let mut text: String = fragments.iter().map(chunk).collect();
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]});
    text.push_str(&format!("data: {end}\n\ndata: [DONE]\n\n"));
    block_on(play(Canned::events([text]))).unwrap().response.unwrap()
}

fn head(index: u32, name: &str, arguments: &str) -> Value {
    json!({"index": index, "type": "function", "function": {"name": name, "arguments": arguments}})
}

fn more(index: u32, arguments: &str) -> Value {
    json!({"index": index, "function": {"arguments": arguments}})
}

fn with_id(id: &str, mut fragment: Value) -> Value {
    fragment["id"] = json!(id);
    fragment
}

fn held(mut fragment: Value) -> Value {
    fragment["extra_content"] = json!({"seal": "s"});
    fragment
}

fn calls(response: &ChatResponse) -> Vec<(&str, &str)> {
    response.tool_calls().map(|call| (&*call.name, &*call.arguments)).collect()
}

/// Name of a case, its fragments, and the calls that they make.
type Case = (&'static str, Vec<Value>, Vec<(&'static str, &'static str)>);

const X: &str = r#"{"x":1}"#;
const Y: &str = r#"{"y":2}"#;

#[test]
fn tool_call_fragments_of_odd_index_join() {
    let (x1, x2) = X.split_at(3);
    let (y1, y2) = Y.split_at(3);
    let two = [("f", X), ("g", Y)];
    let cases: Vec<Case> = vec![
        ("one index, no ids", vec![head(0, "f", X), head(0, "g", Y)], two.to_vec()),
        ("one index, fragments", vec![head(0, "f", ""), more(0, X), head(0, "g", ""), more(0, Y)], two.to_vec()),
        ("one index, one name", vec![head(0, "f", X), head(0, "f", Y)], vec![("f", X), ("f", Y)]),
        ("heads at 0", vec![head(0, "f", ""), more(0, X), head(0, "g", ""), more(1, y1), more(1, y2)], two.to_vec()),
        (
            "heads at 0, three calls",
            vec![head(0, "f", X), head(0, "g", ""), more(1, Y), head(0, "h", ""), more(2, X)],
            vec![("f", X), ("g", Y), ("h", X)],
        ),
        (
            "interleaved",
            vec![head(0, "f", ""), head(1, "g", ""), more(0, x1), more(1, y1), more(0, x2), more(1, y2)],
            two.to_vec(),
        ),
        (
            "name and id in every fragment",
            vec![
                with_id("a", head(0, "f", "")),
                with_id("a", head(0, "f", x1)),
                with_id("a", head(0, "f", x2)),
                with_id("b", head(0, "g", Y)),
            ],
            two.to_vec(),
        ),
        (
            "name in every fragment",
            vec![head(0, "f", ""), head(0, "f", x1), head(0, "f", x2), head(1, "g", Y)],
            two.to_vec(),
        ),
        (
            "an id of its own for every fragment",
            vec![with_id("a", head(0, "f", x1)), with_id("b", more(0, x2)), with_id("c", head(1, "g", Y))],
            two.to_vec(),
        ),
        ("no arguments", vec![head(0, "f", ""), head(1, "g", Y)], vec![("f", ""), ("g", Y)]),
        (
            "index as text and as float",
            vec![
                json!({"index": "0", "function": {"name": "f", "arguments": X}}),
                json!({"index": 1.0, "function": {"name": "g", "arguments": y1}}),
                more(1, y2),
            ],
            two.to_vec(),
        ),
        ("fragments that say nothing", vec![json!({"index": 0}), head(0, "f", X), json!({"index": 7})], vec![("f", X)]),
    ];
    for (name, fragments, expected) in cases {
        for reason in [None, Some(""), Some("stop")] {
            let response = response(&fragments, reason);
            assert_eq!(calls(&response), expected, "{name}, {reason:?}");
            assert!(ChatRequest::is_cacheable(&response), "{name}, {reason:?}");
        }
    }
}

#[test]
fn tool_call_fragments_survive_auxiliary_reasons() {
    for reason in [None, Some(""), Some("stop"), Some("tool_calls")] {
        let (x1, x2) = X.split_at(3);
        let response = response(&[held(head(0, "f", x1)), more(0, x2), head(1, "g", Y)], reason);
        let mut calls = calls(&response);
        calls.sort_unstable();
        assert_eq!(calls, [("f", X), ("g", Y)], "{reason:?}");
    }
}

#[test]
fn tool_call_fragments_torn_are_not_kept() {
    let cases: Vec<(&str, Vec<Value>)> = vec![
        ("no name", vec![more(0, X)]),
        ("no name beside a whole call", vec![head(0, "f", X), more(1, Y)]),
        ("no name, but an id", vec![with_id("a", more(0, X))]),
        ("either of two calls", vec![head(0, "f", ""), head(0, "g", ""), more(0, X)]),
        ("the arguments of two calls", vec![head(0, "f", ""), more(0, X), more(0, Y)]),
        ("half of the arguments", vec![head(0, "f", &X[..4])]),
        ("a fragment of another call", vec![head(0, "f", "1"), head(1, "g", X)]),
        ("no call at all", vec![]),
        ("a nameless call after its end", vec![more(0, X), head(0, "f", Y)]),
    ];
    for (name, fragments) in cases {
        let response = response(&fragments, None);
        assert!(!ChatRequest::is_cacheable(&response), "{name}: {:?}", calls(&response));
    }
}
