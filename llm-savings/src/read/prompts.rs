//! Lines of prompts: `{"prompt": "…", "tenant": "acme", "model": "gpt-4o", "ts": "2026-03-01T09:30:00Z"}`.

use llm_core::Usage;
use serde_json::Value;

use super::fields::{self, Line, Object, count};
use crate::record::{Prompt, Record, Segment, SegmentKind};

pub(super) fn is_line(object: &Object) -> bool {
    object.get("prompt").is_some_and(Value::is_string) && !object.contains_key("messages")
}

pub(super) fn record(object: &Object) -> Line {
    let mut record = Record::new(object.get("model").and_then(Value::as_str).unwrap_or_default());
    let prompt = object.get("prompt").and_then(Value::as_str).unwrap_or_default();
    record.prompt = Some(Prompt::whole(vec![Segment::new(SegmentKind::User, prompt)]));
    record.tenant = fields::tenant(object).unwrap_or_default();
    record.time = fields::began(object);
    record.latency = fields::latency(object);
    let input = count(object.get("input_tokens"));
    record.usage = input.map(|input| Usage::new(input, count(object.get("output_tokens")).unwrap_or(0)));
    Ok(record)
}
