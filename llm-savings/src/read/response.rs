//! Readers of response bodies, which convert the stated usage to one convention.

use llm_core::Usage;
use serde_json::Value;

use super::fields::{Object, count, time};
use crate::record::Record;

/// Completes a record with the values in the body of its response.
pub(super) fn read(body: &Object, record: &mut Record) {
    record.is_failed |= body.get("error").is_some_and(|error| !error.is_null());
    record.time = record.time.or_else(|| time(body.get("created")?).or_else(|| time(body.get("created_at")?)));
    record.usage = body.get("usage").and_then(Value::as_object).and_then(usage).or(record.usage);
}

/// Completes a record with the events of its stream, which state the usage in parts, each as a cumulative count.
pub(super) fn read_events(events: &[Value], record: &mut Record) {
    let mut stated = Object::new();
    for event in events {
        let body = ["message", "response"].iter().find_map(|name| event.get(name).filter(|body| body.is_object()));
        let has_failed = |body: &Value| body.get("error").is_some_and(|error| !error.is_null());
        record.is_failed |= has_failed(event) || body.is_some_and(has_failed);
        let parts = [body, Some(event)].into_iter().flatten().filter_map(|part| part.get("usage")?.as_object());
        parts.for_each(|part| stated.extend(part.iter().map(|(name, value)| (name.clone(), value.clone()))));
    }
    record.usage = usage(&stated).or(record.usage);
}

/// Returns the usage that a response states. Its input includes the cached tokens: OpenAI's counts include them
/// already, and Anthropic's are added to `input_tokens`.
fn usage(usage: &Object) -> Option<Usage> {
    let details = |name: &str, field: &str| count(usage.get(name).and_then(|details| details.get(field)));
    let read = count(usage.get("cache_read_input_tokens"));
    let written = count(usage.get("cache_creation_input_tokens"));
    if let Some(input) = count(usage.get("prompt_tokens")) {
        let cached = details("prompt_tokens_details", "cached_tokens").or(read);
        let output = count(usage.get("completion_tokens")).unwrap_or(0);
        let written = details("prompt_tokens_details", "cache_write_tokens").or(written);
        return plausible(Usage {
            cache_read: cached.or_else(|| count(usage.get("prompt_cache_hit_tokens"))).unwrap_or(0),
            cache_write: written.unwrap_or(0),
            reasoning: details("completion_tokens_details", "reasoning_tokens").unwrap_or(0),
            ..Usage::new(input, output)
        });
    }
    let input = count(usage.get("input_tokens"))?;
    let output = count(usage.get("output_tokens")).unwrap_or(0);
    if read.is_none() && written.is_none() {
        return plausible(Usage {
            cache_read: details("input_tokens_details", "cached_tokens").unwrap_or(0),
            cache_write: details("input_tokens_details", "cache_write_tokens").unwrap_or(0),
            reasoning: details("output_tokens_details", "reasoning_tokens").unwrap_or(0),
            ..Usage::new(input, output)
        });
    }
    let (read, written) = (read.unwrap_or(0), written.unwrap_or(0));
    let long = details("cache_creation", "ephemeral_1h_input_tokens").unwrap_or(0).min(written);
    plausible(Usage {
        cache_read: read,
        cache_write: written - long,
        cache_write_long: long,
        ..Usage::new(input.checked_add(read)?.checked_add(written)?, output)
    })
}

/// Returns the usage; `None` if it is implausibly large, or zero, which cannot be the usage of a response.
fn plausible(usage: Usage) -> Option<Usage> {
    (usage.is_plausible() && usage.total() > 0).then_some(usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_usage(value: Value) -> Option<Usage> {
        usage(value.as_object().expect("an object"))
    }

    #[test]
    fn usage_of_each_vendor_is_one_convention() {
        let expected = Usage { cache_read: 80, ..Usage::new(100, 20) };
        for value in [
            json!({"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 80}}),
            json!({"prompt_tokens": 100.0, "completion_tokens": 20.0, "prompt_cache_hit_tokens": 80}),
            json!({"input_tokens": 100, "output_tokens": 20, "input_tokens_details": {"cached_tokens": 80}}),
            json!({"input_tokens": 20, "output_tokens": 20, "cache_read_input_tokens": 80}),
        ] {
            assert_eq!(read_usage(value.clone()), Some(expected), "{value}");
        }
        let written = json!({
            "input_tokens": 5, "output_tokens": 20, "cache_read_input_tokens": 80, "cache_creation_input_tokens": 15,
            "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 10}
        });
        assert_eq!(read_usage(written), Some(Usage { cache_write: 5, cache_write_long: 10, ..expected }));
    }

    #[test]
    fn usage_absurd_or_zero_is_unknown() {
        for value in [
            json!({"prompt_tokens": 0, "completion_tokens": 0}),
            json!({"prompt_tokens": 2_000_000_000_000_u64}),
            json!({"total_tokens": 5}),
            json!({"input_tokens": -1}),
            json!({"input_tokens": u64::MAX, "cache_read_input_tokens": u64::MAX}),
        ] {
            assert_eq!(read_usage(value.clone()), None, "{value}");
        }
    }
}
