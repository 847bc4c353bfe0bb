use std::sync::Arc;

use llm_core::Usage;
use serde_json::Value;

use super::super::fields::{Fields, take_object};

/// What an answer says it took, as far as it has said so yet: what a later piece leaves out stays as it was told.
#[derive(Debug, Default)]
pub(in super::super) struct Told {
    counts: [Option<u64>; 5],
    /// Of audio and of images, as each list of details tells it.
    details: [Option<[u64; 2]>; 5],
    service_tier: Option<Arc<str>>,
    /// Searches, which the candidates tell.
    pub(in super::super) searches: u64,
}

const COUNTS: [&str; 5] = [
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "cachedContentTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
];
const DETAILS: [&str; 5] = [
    "promptTokensDetails",
    "promptTokenDetails",
    "toolUsePromptTokensDetails",
    "cacheTokensDetails",
    "candidatesTokensDetails",
];

impl Told {
    /// Takes the usage out of an answer or a piece of one. Counts that have no place in [`Usage`] (documents, video) stay
    /// behind under `usageMetadata`.
    pub(in super::super) fn take(&mut self, fields: &mut Fields) {
        let Some(mut told) = take_object(fields, "usageMetadata") else { return };
        let tier = told.get("serviceTier").and_then(Value::as_str).map(Arc::from);
        self.service_tier = tier.or(self.service_tier.take());
        for (known, name) in self.counts.iter_mut().zip(COUNTS) {
            *known = number(told.get(name)).or(*known);
        }
        for (known, name) in self.details.iter_mut().zip(DETAILS) {
            if let Some(Value::Array(rows)) = told.get(name) {
                *known = Some(["AUDIO", "IMAGE"].map(|kind| modality(rows, kind)));
            }
        }
        if self.counts.iter().any(Option::is_some) {
            for name in COUNTS.iter().chain(&["totalTokenCount"]) {
                if told.get(*name).is_some_and(|count| count.is_null() || number(Some(count)).is_some()) {
                    told.remove(*name);
                }
            }
        }
        // An empty one stays as well: it tells an answer from something else.
        fields.insert("usageMetadata".to_owned(), told.into());
    }

    /// Thoughts are apart from the candidates' tokens and both are output; what the vendor's own tools found is apart
    /// from the prompt's tokens and both are input; cached tokens are part of the prompt's.
    pub(in super::super) fn usage(&self) -> Option<Usage> {
        self.counts.iter().flatten().next()?;
        let [prompt, found, cached, said, thought] = self.counts.map(|count| count.unwrap_or(0));
        let [prompts, prompts_too, finds, reads, answers] = self.details.map(|told| told.unwrap_or([0; 2]));
        let mut usage = Usage::new(prompt.saturating_add(found), said.saturating_add(thought));
        usage.cache_read = cached;
        usage.reasoning = thought;
        usage.tool_prompt = found;
        let [audio, images] = [0, 1].map(|kind| [prompts, prompts_too, finds].map(|told| told[kind]));
        usage.audio_input = audio.into_iter().fold(0, u64::saturating_add);
        usage.image_input = images.into_iter().fold(0, u64::saturating_add);
        usage.audio_cache_read = reads[0];
        [usage.audio_output, usage.image_output] = answers;
        usage.searches = self.searches;
        Some(usage)
    }

    pub(in super::super) fn service_tier(&self) -> Option<&Arc<str>> {
        self.service_tier.as_ref()
    }
}

/// How many searches a candidate's further fields tell of.
pub(in super::super) fn searches(grounds: Option<&Value>) -> u64 {
    let queries = grounds.and_then(|told| told.get("webSearchQueries")?.as_array());
    queries.map_or(0, |queries| queries.len() as u64)
}

/// How many tokens of a kind the details tell.
fn modality(rows: &[Value], kind: &str) -> u64 {
    let counts = rows.iter().filter(|row| row["modality"] == kind).filter_map(|row| number(row.get("tokenCount")));
    counts.fold(0, u64::saturating_add)
}

/// A count; protocol buffers may write it as text.
fn number(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    }
}
