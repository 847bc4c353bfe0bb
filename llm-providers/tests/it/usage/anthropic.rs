//! Tests of usage in Anthropic's format: cumulative statements, iterations, and a fallback model that answers.

use llm_providers::{
    Anthropic,
    llm_core::{
        Usage,
        layer::{Accounting, SideCall},
    },
};
use serde_json::{Value, json};

use super::{accounting, booked, canned, counts};
use crate::streaming::Canned;

use crate::codec::anthropic::decode_chat;

/// Returns the accounting of a response whose stream states these usages, the first at its start, with these blocks in
/// between.
pub(super) fn streamed(start: &Value, blocks: &[Value], deltas: &[Value]) -> Accounting {
    accounting(&client(canned(&events("asked", start, blocks, deltas))))
}

fn client(canned: Canned) -> Anthropic<Canned> {
    Anthropic::with_transport("sk-ant-test", canned).unwrap()
}

fn events(model: &str, start: &Value, blocks: &[Value], deltas: &[Value]) -> Vec<Value> {
    let message = json!({"id": "1", "model": model, "content": [], "usage": start});
    let mut events = vec![json!({"type": "message_start", "message": message})];
    for (at, block) in blocks.iter().enumerate() {
        events.push(json!({"type": "content_block_start", "index": at, "content_block": block}));
        events.push(json!({"type": "content_block_stop", "index": at}));
    }
    for usage in deltas {
        events.push(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}));
    }
    events.push(json!({"type": "message_stop"}));
    events
}

fn text() -> Value {
    json!({"type": "text", "text": "yes"})
}

fn of(input: u64, read: u64, written: u64, output: u64) -> Value {
    json!({"input_tokens": input, "cache_read_input_tokens": read, "cache_creation_input_tokens": written,
        "output_tokens": output})
}

#[test]
fn usage_zero_in_delta_keeps_start() {
    for (start, delta, expected) in [
        (of(15_000, 0, 0, 1), json!({"input_tokens": 0, "output_tokens": 8}), counts([15_000, 8, 0, 0, 0])),
        (of(15_000, 0, 0, 1), of(0, 0, 0, 8), counts([15_000, 8, 0, 0, 0])),
        (of(10, 5_000, 700, 1), of(0, 0, 0, 8), counts([5_710, 8, 5_000, 700, 0])),
        (
            of(10, 5_000, 700, 1),
            json!({"cache_read_input_tokens": 0, "output_tokens": 8}),
            counts([5_710, 8, 5_000, 700, 0]),
        ),
        (of(0, 0, 0, 0), of(10, 5_000, 700, 8), counts([5_710, 8, 5_000, 700, 0])),
        // The usage at the start is an estimate that does not include the cache.
        (of(15_000, 0, 0, 1), of(3, 14_997, 0, 8), counts([15_000, 8, 14_997, 0, 0])),
        (of(10, 5_000, 0, 1), json!({"input_tokens": 10.0, "output_tokens": 8.0}), counts([5_010, 8, 5_000, 0, 0])),
    ] {
        assert_eq!(streamed(&start, &[text()], std::slice::from_ref(&delta)).usage, Some(expected), "{start} {delta}");
    }
    assert_eq!(streamed(&of(0, 0, 0, 0), &[text()], &[of(0, 0, 0, 8)]).usage, None, "no prompt was ever stated");
}

#[test]
fn usage_unusable_in_delta_is_named() {
    let accounting = streamed(&of(10, 0, 0, 1), &[text()], &[of(u64::MAX, 0, 0, 8)]);
    assert_eq!(accounting.usage, Some(Usage::new(10, 1)));
    assert_eq!(accounting.unusable_usage.as_deref(), Some("input_tokens: 18446744073709551615"));
}

fn iteration(kind: &str, model: Option<&str>, input: u64, output: u64) -> Value {
    let mut iteration = of(input, 0, 0, output);
    iteration["type"] = kind.into();
    iteration["model"] = json!(model);
    iteration
}

#[test]
fn usage_iterations_add_side_calls() {
    let side = |model: Option<&str>, input, output| {
        let call = SideCall::new(Usage::new(input, output));
        model.map_or(call.clone(), |model| call.with_model(model))
    };
    let (message, fallback) =
        (iteration("message", None, 700, 1_300), iteration("fallback_message", Some("b"), 700, 1_300));
    for (iterations, expected, sides) in [
        (vec![message.clone()], (700, 1_300), vec![]),
        (vec![iteration("message", None, 300, 300), iteration("message", None, 400, 1_000)], (700, 1_300), vec![]),
        (
            vec![iteration("compaction", None, 60_000, 600), message.clone()],
            (60_700, 1_900),
            vec![side(None, 60_000, 600)],
        ),
        (
            vec![message, iteration("advisor_message", Some("a"), 900, 100)],
            (1_600, 1_400),
            vec![side(Some("a"), 900, 100)],
        ),
        // A model that declined before it wrote any content is not charged.
        (vec![iteration("message", Some("a"), 700, 0), fallback.clone()], (700, 1_300), vec![]),
        (
            vec![iteration("message", Some("a"), 700, 40), fallback.clone()],
            (1_400, 1_340),
            vec![side(Some("a"), 700, 40)],
        ),
        // The counts above include those of the model that declined.
        (
            vec![iteration("message", Some("a"), 200, 40), iteration("fallback_message", Some("b"), 500, 1_260)],
            (700, 1_300),
            vec![side(Some("a"), 200, 40)],
        ),
    ] {
        let mut usage = of(700, 0, 0, 1_300);
        usage["iterations"] = iterations.into();
        let body = json!({"id": "1", "model": "b", "content": [text()], "stop_reason": "end_turn", "usage": usage});
        let decoded = decode_chat(body.to_string().as_bytes()).unwrap();
        let expected = Some(Usage::new(expected.0, expected.1));
        assert_eq!((decoded.usage, &decoded.side_calls), (expected, &sides), "{usage}");
        let accounting = streamed(&of(700, 0, 0, 1), &[text()], std::slice::from_ref(&usage));
        assert_eq!((accounting.usage, accounting.side_calls), (expected, sides), "{usage} streamed");
    }
}

#[test]
fn usage_of_fallback_names_answering_model() {
    let handover = |from: &str, to: &str| json!({"type": "fallback", "from": {"model": from}, "to": {"model": to}});
    let model = |blocks: &[Value], usage| streamed(&of(9, 0, 0, 1), blocks, &[usage]).model;
    assert_eq!(model(&[text()], of(9, 0, 0, 5)).as_deref(), Some("asked"));
    assert_eq!(model(&[handover("asked", "b"), text()], of(9, 0, 0, 5)).as_deref(), Some("b"));
    let twice = [handover("asked", "b"), text(), handover("b", "c"), text()];
    assert_eq!(model(&twice, of(9, 0, 0, 5)).as_deref(), Some("c"));
    let mut usage = of(9, 0, 0, 5);
    usage["iterations"] = json!([iteration("fallback_message", Some("b"), 9, 5)]);
    assert_eq!(model(&[text()], usage).as_deref(), Some("b"), "no block where no model ran before");
}

/// Returns the amounts booked for a unary and a streamed response with these iterations, in nano-dollars; `None` if
/// unknown.
fn paid(iterations: Value) -> Option<i64> {
    const ASKED: &str = "claude-opus-5-5";
    let mut usage = of(700, 0, 0, 1_300);
    let served_by = iterations.as_array().unwrap().iter().find(|one| one["type"] == "fallback_message");
    let model = served_by.map_or(json!(ASKED), |one| one["model"].clone());
    usage["iterations"] = iterations;
    let whole = json!({"id": "1", "model": model, "content": [text()], "stop_reason": "end_turn", "usage": usage});
    let handover = json!({"type": "fallback", "from": {"model": ASKED}, "to": {"model": model}});
    let stream = canned(&events(ASKED, &of(700, 0, 0, 1), &[handover, text()], &[usage]));
    let whole = Canned::response("application/json", [whole.to_string()]);
    let [whole, stream] = [(whole, false), (stream, true)].map(|(canned, streamed)| booked(client(canned), streamed));
    assert_eq!((whole.paid, whole.unpriced_attempts), (stream.paid, stream.unpriced_attempts));
    (whole.unpriced_attempts == 0).then(|| whole.paid.nanos())
}

#[test]
fn usage_iterations_cost_their_models_rates() {
    // Opus costs $4 and $20 a million tokens, Haiku $1 and $5.
    let opus = |input: i64, output: i64| 4_000 * input + 20_000 * output;
    let haiku = |input: i64, output: i64| 1_000 * input + 5_000 * output;
    let message = iteration("message", None, 700, 1_300);
    assert_eq!(paid(json!([message])), Some(opus(700, 1_300)));
    let compaction = iteration("compaction", None, 60_000, 600);
    assert_eq!(paid(json!([compaction, message])), Some(opus(60_700, 1_900)));
    let advisor = iteration("advisor_message", Some("claude-haiku-4-5"), 900, 100);
    assert_eq!(paid(json!([message, advisor])), Some(opus(700, 1_300) + haiku(900, 100)));
    assert_eq!(paid(json!([message, iteration("advisor_message", Some("unlisted"), 900, 100)])), None);
    let fallback = iteration("fallback_message", Some("claude-haiku-4-5"), 700, 1_300);
    assert_eq!(paid(json!([fallback])), Some(haiku(700, 1_300)));
    let declined = iteration("message", Some("claude-opus-5-5"), 700, 40);
    assert_eq!(paid(json!([declined, fallback])), Some(opus(700, 40) + haiku(700, 1_300)));
}
