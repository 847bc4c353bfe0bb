use llm_core::Usage;
use serde_json::Value;

use super::super::fields::{Fields, take_object};

/// Takes the usage out of an answer or a chunk. Fields of it that have no place in [`Usage`] (OpenRouter's `cost`,
/// Groq's timings) stay behind under `usage`.
///
/// Cached and cache-written tokens are part of `prompt_tokens`, reasoning is part of `completion_tokens`, as in
/// [`Usage`] itself. NOTE: where `total_tokens` is more than both together (Gemini behind OpenAI's format hides its
/// thinking there) the rest is not counted; that vendor's own dialect will.
pub(in super::super) fn take_usage(fields: &mut Fields) -> Option<Usage> {
    let Some(mut told) = take_object(fields, "usage") else {
        // Groq's older streams.
        let inner = fields.get("x_groq")?.get("usage")?.as_object()?;
        return read(&mut inner.clone());
    };
    let usage = read(&mut told);
    if !told.is_empty() {
        fields.insert("usage".to_owned(), Value::Object(told));
    }
    usage
}

fn read(told: &mut Fields) -> Option<Usage> {
    let input = number(told.get("prompt_tokens"))?;
    // Embeddings have no output, and some servers leave a zero out.
    let output = number(told.get("completion_tokens")).unwrap_or(0);
    told.remove("prompt_tokens");
    told.remove("completion_tokens");
    told.remove("total_tokens");
    let mut usage = Usage::new(input, output);
    let hits = take(told, "prompt_cache_hit_tokens").or_else(|| take(told, "num_cached_tokens"));
    told.remove("prompt_cache_miss_tokens");
    details(told, "prompt_tokens_details", |details| {
        usage.cache_read = take(details, "cached_tokens").unwrap_or(0);
        usage.cache_write = take(details, "cache_write_tokens").unwrap_or(0);
        usage.audio_input = take(details, "audio_tokens").unwrap_or(0);
    });
    if usage.cache_read == 0 {
        usage.cache_read = hits.unwrap_or(0);
    }
    details(told, "completion_tokens_details", |details| {
        usage.reasoning = take(details, "reasoning_tokens").unwrap_or(0);
        usage.audio_output = take(details, "audio_tokens").unwrap_or(0);
        details.remove("accepted_prediction_tokens");
        details.remove("rejected_prediction_tokens");
    });
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

fn number(value: Option<&Value>) -> Option<u64> {
    value?.as_u64()
}
