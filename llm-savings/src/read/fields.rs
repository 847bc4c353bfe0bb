//! Readers of fields that several formats share.

use std::time::Duration;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::{Map, Value};

use crate::record::Record;

/// Reason why a line is not a record. It contains names of formats and fields, but never a value from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skipped(pub(crate) String);

impl Skipped {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Result of reading a line.
pub(super) type Line = Result<Record, Skipped>;

/// JSON object.
pub(super) type Object = Map<String, Value>;

/// Latest time that is accepted, in milliseconds since the Unix epoch: in the year 2106.
const LATEST: u64 = u32::MAX as u64 * 1_000;

/// Returns the value of the first of the fields `names` that exists and is not null.
pub(super) fn first<'a>(object: &'a Object, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| object.get(*name).filter(|value| !value.is_null()))
}

/// Returns a text, or a number as text; `None` for any other value.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns a time in milliseconds since the Unix epoch, from a number of seconds, milliseconds, microseconds or
/// nanoseconds, or from text in the form of RFC 3339.
pub(super) fn time(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => millis(number.as_f64()?),
        Value::String(text) => time_of_text(text),
        _ => None,
    }
}

/// Returns a time as [`time`] does, from the text of a column.
pub(super) fn time_of_text(text: &str) -> Option<u64> {
    if let Ok(number) = text.parse::<f64>() {
        return millis(number);
    }
    let stamp = match text.parse::<Timestamp>() {
        Ok(stamp) => stamp,
        Err(_) => text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp(),
    };
    u64::try_from(stamp.as_millisecond()).ok().filter(|millis| *millis < LATEST)
}

/// Converts a time to milliseconds. The unit follows from the size of the number: below 10¹¹ it is in seconds (in
/// milliseconds it would be before 1974), below 10¹⁴ in milliseconds, below 10¹⁷ in microseconds, otherwise in
/// nanoseconds.
fn millis(number: f64) -> Option<u64> {
    let millis = match number {
        seconds if seconds < 1e11 => seconds * 1e3,
        millis if millis < 1e14 => millis,
        micros if micros < 1e17 => micros / 1e3,
        nanos => nanos / 1e6,
    };
    (0.0..LATEST as f64).contains(&millis).then_some(millis as u64)
}

/// Returns the count in a field, which some servers write as a float or as text.
pub(super) fn count(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    if let Value::String(text) = value {
        return text.parse().ok();
    }
    value.as_u64().or_else(|| value.as_f64().filter(|count| (0.0..9e15).contains(count)).map(|count| count as u64))
}

/// Returns the duration of a call, which the log states in milliseconds.
pub(super) fn latency(object: &Object) -> Option<Duration> {
    let millis = first(object, &["latency_ms", "duration_ms", "elapsed_ms", "response_time_ms"])?;
    Some(Duration::from_millis(count(Some(millis))?))
}

/// Returns the time of the request, from the first of the usual fields that contains a time.
pub(super) fn began(object: &Object) -> Option<u64> {
    ["time", "ts", "timestamp", "start_time", "created_at", "at"].iter().find_map(|name| time(object.get(*name)?))
}

/// Returns the tenant of the call.
pub(super) fn tenant(object: &Object) -> Option<String> {
    text(first(object, &["tenant", "organization", "organisation", "customer"])?)
}

/// Writes JSON with sorted names, so that equal values are equal texts.
pub(super) fn canonical(value: &Value, into: &mut String) {
    match value {
        Value::Object(object) => {
            let mut fields: Vec<_> = object.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            into.push('{');
            for (name, value) in fields {
                into.push_str(&Value::from(name.as_str()).to_string());
                into.push(':');
                canonical(value, into);
                into.push(',');
            }
            into.push('}');
        }
        Value::Array(values) => {
            into.push('[');
            for value in values {
                canonical(value, into);
                into.push(',');
            }
            into.push(']');
        }
        scalar => into.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn time_takes_usual_forms() {
        let expected = Some(1_764_000_000_000);
        for value in [
            json!(1_764_000_000),
            json!(1_764_000_000.0),
            json!(1_764_000_000_000_u64),
            json!("1764000000"),
            json!(1_764_000_000_000_000_u64),
            json!(1_764_000_000_000_000_000_u64),
            json!("2025-11-24T16:00:00Z"),
            json!("2025-11-24T17:00:00+01:00"),
            json!("2025-11-24 16:00:00"),
        ] {
            assert_eq!(time(&value), expected, "{value}");
        }
        for value in [
            json!("soon"),
            json!(-5),
            json!(true),
            json!(1e300),
            json!(""),
            json!("9999-12-31T00:00:00Z"),
            json!("NaN"),
        ] {
            assert_eq!(time(&value), None, "{value}");
        }
    }

    #[test]
    fn canonical_ignores_order_of_names() {
        let text = |json: &str| {
            let mut text = String::new();
            canonical(&serde_json::from_str(json).expect("it is JSON"), &mut text);
            text
        };
        assert_eq!(text(r#"{"a": 1, "b": [{"d": 2, "c": "x"}]}"#), text(r#"{"b":[{"c":"x","d":2}],"a":1}"#));
        assert_ne!(text(r#"{"a": [1, 2]}"#), text(r#"{"a": [2, 1]}"#));
    }
}
