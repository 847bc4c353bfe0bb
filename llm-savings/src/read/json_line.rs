//! JSON logs with one object in each line: pairs of request and response, lines of vendors' batches, the stack's own
//! request log, prompts.

use serde_json::Value;

use super::{
    fields::{self, Line, Object, Skipped},
    prompts, request, response, stack,
};
use crate::record::Record;

/// Parses one line as a record of a call.
pub(super) fn record(line: &str) -> Line {
    let value: Value = serde_json::from_str(line).map_err(|error| match error.is_eof() {
        true => Skipped::new("the line is cut"),
        false => Skipped::new("the line is not JSON"),
    })?;
    let Value::Object(mut object) = value else { return Err(Skipped::new("the line is no JSON object")) };
    unpack(&mut object);
    if stack::is_line(&object) {
        return stack::record(&object);
    }
    if object.contains_key("lost_lines") {
        return Err(Skipped::new("the stack's log lost lines here"));
    }
    if prompts::is_line(&object) {
        return prompts::record(&object);
    }
    pair(&object)
}

/// Parses bodies that are written as text: JSON, or the events of a stream.
fn unpack(object: &mut Object) {
    for name in ["request", "response", "body"] {
        match object.get_mut(name) {
            Some(Value::Object(part)) if name != "body" => unpack(part),
            Some(part) => part.as_str().and_then(unpacked).into_iter().for_each(|value| *part = value),
            None => {}
        }
    }
}

fn unpacked(text: &str) -> Option<Value> {
    if let Ok(value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
        return Some(value);
    }
    let events = text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?).ok());
    let events: Vec<Value> = events.collect();
    (!events.is_empty()).then_some(Value::Array(events))
}

/// Reads `{"request": …, "response": …}`, in which request and response may each be in a `body`, or a line that is a
/// request alone.
fn pair(object: &Object) -> Line {
    let part = |names: &[&str]| {
        let part = fields::first(object, names)?.as_object()?;
        Some(part.get("body").and_then(Value::as_object).unwrap_or(part))
    };
    let body = part(&["request", "body", "kwargs"]).unwrap_or(object);
    if !request::is_body(body) {
        return Err(Skipped::new("unknown format: no `messages`, `input` or `prompt` in the request"));
    }
    let (model, prompt) = request::read(body)?;
    let mut record = Record::new(model);
    record.prompt = Some(prompt);
    record.tenant = fields::tenant(object).unwrap_or_default();
    record.latency = fields::latency(object);
    record.time = fields::began(object);
    let status = fields::first(object, &["status", "status_code"]).or_else(|| {
        let response = object.get("response")?.as_object()?;
        fields::first(response, &["status_code"])
    });
    record.is_failed = fields::count(status).is_some_and(|status| status >= 400)
        || object.get("error").is_some_and(|error| !error.is_null());
    match fields::first(object, &["response", "completion"]) {
        Some(Value::Array(events)) => response::read_events(events, &mut record),
        _ => part(&["response", "completion"]).into_iter().for_each(|body| response::read(body, &mut record)),
    }
    Ok(record)
}
