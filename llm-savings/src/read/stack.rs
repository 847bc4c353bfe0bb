//! Lines of the stack's own log of requests: see `LedgerFileBuilder::request_log` of `llm-providers`.

use llm_core::{Usage, Usd};
use serde_json::Value;

use super::fields::{self, Line, Object, Skipped, canonical, count};
use crate::record::{Prompt, Record, Segment, SegmentKind};

pub(super) fn is_line(object: &Object) -> bool {
    object.contains_key("outcome") && object.contains_key("tenant") && object.contains_key("labels")
}

pub(super) fn record(object: &Object) -> Line {
    let model =
        object.get("model").and_then(Value::as_str).ok_or_else(|| Skipped::new("no `model` in the stack's line"))?;
    let mut record = Record::new(model);
    record.tenant = fields::tenant(object).unwrap_or_default();
    record.time = fields::began(object);
    // Logs of earlier versions have `answered` for `completed`.
    let outcome = object.get("outcome").and_then(Value::as_str);
    record.is_failed = !matches!(outcome, Some("completed" | "answered"));
    let input = count(object.get("input_tokens"));
    record.usage = input.map(|input| Usage::new(input, count(object.get("output_tokens")).unwrap_or(0)));
    let amount = |name: &str| object.get(name).and_then(Value::as_i64).map(Usd::from_nanos);
    record.list = amount("list_nano_usd").filter(|list| *list >= Usd::ZERO);
    record.saved = amount("saved_nano_usd");
    let texts = object.get("texts").and_then(|texts| texts.get("request")).and_then(Value::as_array);
    record.prompt =
        texts.filter(|texts| !texts.is_empty()).map(|texts| Prompt::whole(texts.iter().map(segment).collect()));
    Ok(record)
}

fn segment(value: &Value) -> Segment {
    let text = match value.get("text") {
        Some(Value::String(text)) => text.clone(),
        _ => {
            let mut text = String::new();
            canonical(value, &mut text);
            text
        }
    };
    let kind = match value.get("role").and_then(Value::as_str) {
        Some("system") => SegmentKind::System,
        Some("assistant" | "tool") => SegmentKind::Other,
        _ => SegmentKind::User,
    };
    Segment::new(kind, text)
}
