use std::sync::Arc;

use llm_core::Usage;
use serde_json::Value;

use crate::wire::fields::{Fields, take_object};

/// Takes the usage and the service class out of an answer. Fields of it that have no place in [`Usage`] (the service
/// class, a vendor's own tools) stay behind under `usage`.
///
/// The vendor's `input_tokens` are those neither read from nor written to the prompt cache; here they are all.
pub(in super::super) fn take_usage(fields: &mut Fields) -> (Option<Usage>, Option<Arc<str>>) {
    let Some(mut told) = take_object(fields, "usage") else { return (None, None) };
    let usage = read(&mut told);
    let tier = told.get("service_tier").and_then(Value::as_str).map(Arc::from);
    told.retain(|_, value| !value.is_null());
    if !told.is_empty() {
        fields.insert("usage".to_owned(), Value::Object(told));
    }
    (usage, tier)
}

fn read(told: &mut Fields) -> Option<Usage> {
    let input = told.get("input_tokens")?.as_u64()?;
    let output = told.get("output_tokens")?.as_u64()?;
    told.remove("input_tokens");
    told.remove("output_tokens");
    let cache_read = take(told, "cache_read_input_tokens").unwrap_or(0);
    let written = take(told, "cache_creation_input_tokens").unwrap_or(0);
    let (mut short, mut long, mut reasoning) = (0, 0, 0);
    details(told, "cache_creation", |split| {
        short = take(split, "ephemeral_5m_input_tokens").unwrap_or(0);
        long = take(split, "ephemeral_1h_input_tokens").unwrap_or(0);
    });
    details(told, "output_tokens_details", |split| reasoning = take(split, "thinking_tokens").unwrap_or(0));
    // What the split does not name was written for the usual life time.
    let cache_write = written.saturating_sub(long).max(short);
    let input = [cache_read, cache_write, long].into_iter().fold(input, u64::saturating_add);
    Some(Usage { input, cache_read, cache_write, cache_write_long: long, output, reasoning, ..Usage::default() })
}

/// Reads a group of details; what it leaves, stays.
fn details(told: &mut Fields, name: &str, read: impl FnOnce(&mut Fields)) {
    let Some(mut details) = take_object(told, name) else { return };
    read(&mut details);
    if !details.is_empty() {
        told.insert(name.to_owned(), Value::Object(details));
    }
}

fn take(fields: &mut Fields, name: &str) -> Option<u64> {
    let told = fields.get(name)?.as_u64();
    if told.is_some() || fields.get(name).is_some_and(Value::is_null) {
        fields.remove(name);
    }
    told
}
