use llm_core::Usage;
use serde_json::Value;

use super::super::{
    Dialect,
    fields::{Fields, take_object},
};
use crate::protocol::usage::{StatedUsage, Unusable, discard, output};

const CACHE_READ: [&str; 5] = [
    "prompt_tokens_details.cached_tokens",
    "cached_tokens",
    "num_cached_tokens",
    "prompt_cache_hit_tokens",
    "cache_read_input_tokens",
];
const CACHE_WRITE: [&str; 3] = [
    "prompt_tokens_details.cache_write_tokens",
    "prompt_tokens_details.cache_creation_tokens",
    "cache_creation_input_tokens",
];
const REASONING: &str = "completion_tokens_details.reasoning_tokens";
const SEARCHES: [&str; 2] = ["num_search_queries", "server_tool_use.web_search_requests"];
/// Counts that are the sum of other counts.
const REPEATED: [&str; 3] = [
    "prompt_cache_miss_tokens",
    "completion_tokens_details.accepted_prediction_tokens",
    "completion_tokens_details.rejected_prediction_tokens",
];

/// Removes the usage from a response or a chunk, and merges it into `stated`. Returns `true` if a usage with a count
/// for the prompt was found. Fields that [`Usage`] does not have (OpenRouter's `cost`, Groq's timings) are kept.
///
/// Tokens read from and written to the cache are part of `prompt_tokens`. Reasoning is either part of
/// `completion_tokens` or counted in addition, as `total_tokens` shows. If the server hides its thinking, the excess of
/// `total_tokens` is reasoning too.
pub(crate) fn take_usage(fields: &mut Fields, dialect: &Dialect, stated: &mut StatedUsage) -> bool {
    let mut any = take_from(fields, dialect, stated);
    // Groq states the usage of a stream in the object `x_groq`.
    if let Some(Value::Object(groq)) = fields.get_mut("x_groq") {
        any |= take_from(groq, dialect, stated);
    }
    // Moonshot states the usage of a stream in the choice.
    for choice in fields.get_mut("choices").and_then(Value::as_array_mut).into_iter().flatten() {
        any |= choice.as_object_mut().is_some_and(|choice| take_from(choice, dialect, stated));
    }
    any
}

fn take_from(fields: &mut Fields, dialect: &Dialect, stated: &mut StatedUsage) -> bool {
    let Some(mut usage) = take_object(fields, "usage") else { return false };
    let read = read(&mut usage, dialect, stated).ok().flatten();
    read.into_iter().for_each(|read| stated.merge(read));
    if !usage.is_empty() {
        fields.insert("usage".to_owned(), Value::Object(usage));
    }
    read.is_some_and(|read| read.input > 0)
}

fn read(fields: &mut Fields, dialect: &Dialect, stated: &mut StatedUsage) -> Result<Option<Usage>, Unusable> {
    let Some(prompt) = stated.take(fields, "prompt_tokens")? else { return Ok(None) };
    // Embeddings have no output, and some servers leave out a count of zero.
    let completion = stated.take(fields, "completion_tokens")?.unwrap_or(0);
    let total = stated.take(fields, "total_tokens").ok().flatten();
    let reasoning = stated.take(fields, REASONING).ok().flatten().unwrap_or(0);
    let (output, reasoning) = match total {
        Some(total) if dialect.hidden_reasoning => {
            let hidden = total.saturating_sub(prompt.saturating_add(completion));
            (completion.saturating_add(hidden), reasoning.max(hidden))
        }
        total => output(prompt, completion, reasoning, total),
    };
    let mut usage = Usage { reasoning, ..Usage::new(prompt, output) };
    usage.cache_read = stated.take_part(fields, &CACHE_READ, prompt);
    usage.cache_write = stated.take_part(fields, &CACHE_WRITE, prompt);
    usage.audio_input = stated.take_part(fields, &["prompt_tokens_details.audio_tokens"], prompt);
    usage.audio_output = stated.take_part(fields, &["completion_tokens_details.audio_tokens"], output);
    usage.searches = stated.take_part(fields, &SEARCHES, u64::MAX);
    REPEATED.iter().for_each(|path| discard(fields, path));
    Ok(Some(usage))
}
