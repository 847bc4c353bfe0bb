use std::sync::Arc;

use llm_core::Usage;
use serde_json::Value;

use super::super::fields::{Fields, take_object};

/// What an answer says it took.
#[derive(Debug, Default)]
pub(in super::super) struct Told {
    pub(in super::super) usage: Option<Usage>,
    pub(in super::super) service_tier: Option<Arc<str>>,
}

const COUNTS: [&str; 5] = [
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "cachedContentTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
];

/// Takes the usage out of an answer or a piece of one. Counts that have no place in [`Usage`] (documents, video) stay
/// behind under `usageMetadata`.
///
/// Thoughts are apart from the candidates' tokens and both are output; what the vendor's own tools found is apart from
/// the prompt's tokens and both are input; cached tokens are part of the prompt's.
pub(in super::super) fn take_usage(fields: &mut Fields) -> Told {
    let Some(mut told) = take_object(fields, "usageMetadata") else { return Told::default() };
    let service_tier = told.get("serviceTier").and_then(Value::as_str).map(Arc::from);
    let usage = read(&mut told);
    // An empty one stays as well: it tells an answer from something else.
    fields.insert("usageMetadata".to_owned(), told.into());
    Told { usage, service_tier }
}

fn read(told: &mut Fields) -> Option<Usage> {
    let [prompt, found, cached, said, thought] = COUNTS.map(|name| number(told.get(name)));
    [prompt, found, cached, said, thought].iter().flatten().next()?;
    let of = |count: Option<u64>| count.unwrap_or(0);
    let mut usage = Usage::new(of(prompt).saturating_add(of(found)), of(said).saturating_add(of(thought)));
    usage.cache_read = of(cached);
    usage.reasoning = of(thought);
    usage.tool_prompt = of(found);
    for name in ["promptTokensDetails", "promptTokenDetails", "toolUsePromptTokensDetails"] {
        usage.audio_input = usage.audio_input.saturating_add(modality(told.get(name), "AUDIO"));
        usage.image_input = usage.image_input.saturating_add(modality(told.get(name), "IMAGE"));
    }
    usage.audio_output = modality(told.get("candidatesTokensDetails"), "AUDIO");
    usage.image_output = modality(told.get("candidatesTokensDetails"), "IMAGE");
    for name in COUNTS.iter().chain(&["totalTokenCount"]) {
        if told.get(*name).is_some_and(|count| count.is_null() || number(Some(count)).is_some()) {
            told.remove(*name);
        }
    }
    Some(usage)
}

/// How many tokens of a kind the details tell.
fn modality(details: Option<&Value>, kind: &str) -> u64 {
    let rows = details.and_then(Value::as_array).into_iter().flatten();
    let counts = rows.filter(|row| row["modality"] == kind).filter_map(|row| number(row.get("tokenCount")));
    counts.fold(0, u64::saturating_add)
}

/// A count; protocol buffers may write it as text.
fn number(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    }
}
