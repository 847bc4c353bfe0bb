use llm_core::Usage;
use serde_json::Value;

use super::super::{
    Dialect,
    fields::{Fields, take_object},
};

/// Takes the usage out of an answer or a chunk. Fields of it that have no place in [`Usage`] (OpenRouter's `cost`,
/// Groq's timings) stay behind under `usage`.
///
/// Cached and cache-written tokens are part of `prompt_tokens`, reasoning is part of `completion_tokens`, as in
/// [`Usage`] itself. Where the server hides its thinking, what `total_tokens` is more than both is reasoning too.
pub(in super::super) fn take_usage(fields: &mut Fields, dialect: &Dialect) -> Option<Usage> {
    if let Some(mut told) = take_object(fields, "usage") {
        let usage = read(&mut told, dialect);
        if !told.is_empty() {
            fields.insert("usage".to_owned(), Value::Object(told));
        }
        return usage;
    }
    // Groq's streams.
    let groq = fields.get_mut("x_groq")?.as_object_mut()?;
    let mut told = take_object(groq, "usage")?;
    let usage = read(&mut told, dialect);
    if !told.is_empty() {
        groq.insert("usage".to_owned(), Value::Object(told));
    }
    usage
}

fn read(told: &mut Fields, dialect: &Dialect) -> Option<Usage> {
    let input = number(told.get("prompt_tokens"))?;
    // Embeddings have no output, and some servers leave a zero out.
    let output = number(told.get("completion_tokens")).unwrap_or(0);
    told.remove("prompt_tokens");
    told.remove("completion_tokens");
    let total = number(told.remove("total_tokens").as_ref());
    let mut usage = Usage::new(input, output);
    let hits = take(told, "prompt_cache_hit_tokens").or_else(|| take(told, "num_cached_tokens"));
    told.remove("prompt_cache_miss_tokens");
    details(told, "prompt_tokens_details", |details| {
        // Azure's Grok tells more cached tokens than there were tokens: those are no part of these.
        usage.cache_read = part(details, "cached_tokens", input).unwrap_or(0);
        usage.cache_write = part(details, "cache_write_tokens", input - usage.cache_read).unwrap_or(0);
        usage.audio_input = part(details, "audio_tokens", input).unwrap_or(0);
    });
    if usage.cache_read == 0 {
        usage.cache_read = hits.filter(|hits| *hits <= input - usage.cache_write).unwrap_or(0);
    }
    details(told, "completion_tokens_details", |details| {
        // Some of OpenRouter's models tell more reasoning than output.
        usage.reasoning = part(details, "reasoning_tokens", output).unwrap_or(output);
        usage.audio_output = part(details, "audio_tokens", output).unwrap_or(0);
        details.remove("accepted_prediction_tokens");
        details.remove("rejected_prediction_tokens");
    });
    if let (true, Some(hidden)) =
        (dialect.hidden_thoughts, total.and_then(|total| total.checked_sub(input.saturating_add(output))))
    {
        usage.output = usage.output.saturating_add(hidden);
        usage.reasoning = usage.reasoning.saturating_add(hidden);
    }
    Some(usage)
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
    let told = number(fields.get(name));
    if told.is_some() || fields.get(name).is_some_and(Value::is_null) {
        fields.remove(name);
    }
    told
}

/// Takes a number of tokens that are part of `whole`. One that is more is none of them, and stays.
fn part(fields: &mut Fields, name: &str, whole: u64) -> Option<u64> {
    match number(fields.get(name)) {
        Some(told) if told > whole => None,
        _ => Some(take(fields, name).unwrap_or(0)),
    }
}

fn number(value: Option<&Value>) -> Option<u64> {
    value?.as_u64()
}
