use std::sync::Arc;

use llm_core::Usage;
use serde_json::Value;

use super::super::fields::{Fields, take_object};
use crate::protocol::{
    Decoded,
    usage::{StatedUsage, discard, number},
};

/// Usage that a response has stated so far. A count that a later chunk leaves out keeps its value.
#[derive(Debug, Default)]
pub(crate) struct ResponseUsage {
    counts: [u64; 5],
    /// Numbers of audio tokens and of image tokens, for each list of details.
    details: [[u64; 2]; 5],
    stated: StatedUsage,
    service_tier: Option<Arc<str>>,
    /// Number of searches, which the vendor states in the candidates.
    pub(crate) searches: u64,
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

impl ResponseUsage {
    /// Removes the usage from the fields of a response or a chunk. Counts that [`Usage`] does not have (documents,
    /// video) are kept under `usageMetadata`.
    pub(crate) fn take(&mut self, fields: &mut Fields) {
        let Some(mut usage) = take_object(fields, "usageMetadata") else { return };
        let tier = usage.get("serviceTier").and_then(Value::as_str).map(Arc::from);
        self.service_tier = tier.or(self.service_tier.take());
        let counts = COUNTS.map(|name| self.stated.take(&mut usage, name));
        if counts.iter().any(|count| matches!(count, Ok(Some(_)))) {
            discard(&mut usage, "totalTokenCount");
        }
        for (known, name) in self.details.iter_mut().zip(DETAILS) {
            if let Some(Value::Array(rows)) = usage.get(name) {
                *known = ["AUDIO", "IMAGE"].map(|kind| modality(rows, kind));
            }
        }
        // An empty object is kept, because it distinguishes a response from other JSON.
        fields.insert("usageMetadata".to_owned(), usage.into());
        if counts.iter().all(Result::is_ok) {
            for (known, count) in self.counts.iter_mut().zip(counts) {
                *known = count.ok().flatten().unwrap_or(0).max(*known);
            }
            self.merge();
        }
    }

    /// Computes the usage. The input is the prompt, including its cached tokens, plus the tokens that the vendor's own
    /// tools added. The output is the candidates' tokens plus those of the thoughts.
    fn merge(&mut self) {
        let [prompt, found, cached, said, thought] = self.counts;
        if prompt == 0 {
            return;
        }
        let [prompts, prompts_too, finds, reads, responses] = self.details;
        let mut usage = Usage::new(prompt + found, said + thought);
        usage.cache_read = cached;
        usage.reasoning = thought;
        usage.tool_prompt = found;
        [usage.audio_input, usage.image_input] = [0, 1].map(|kind| prompts[kind] + prompts_too[kind] + finds[kind]);
        usage.audio_cache_read = reads[0];
        [usage.audio_output, usage.image_output] = responses;
        self.stated.merge(usage);
    }

    /// Returns the usage with the number of searches; `None` until the vendor has stated the size of the prompt.
    pub(crate) fn usage(&self) -> Option<Usage> {
        Some(Usage { searches: self.searches, ..self.stated.usage()? })
    }

    pub(crate) fn stated(&self) -> &StatedUsage {
        &self.stated
    }

    /// Returns a response together with its stated usage.
    pub(crate) fn decoded<A>(&self, response: A, tier: Option<Arc<str>>) -> Decoded<A> {
        Decoded { usage: self.usage(), ..Decoded::stated(response, &self.stated, tier) }
    }

    pub(crate) fn service_tier(&self) -> Option<&Arc<str>> {
        self.service_tier.as_ref()
    }
}

/// Name of the field that holds a candidate's sources, including its searches.
pub(crate) const GROUNDS: &str = "groundingMetadata";

/// Returns the number of searches that a candidate's `groundingMetadata` states.
pub(crate) fn searches(grounds: Option<&Value>) -> u64 {
    let queries = grounds.and_then(|grounds| grounds.get("webSearchQueries")?.as_array());
    queries.map_or(0, |queries| queries.len() as u64)
}

/// Returns the number of tokens of one modality, such as audio, in a list of details.
fn modality(rows: &[Value], kind: &str) -> u64 {
    let counts = rows.iter().filter(|row| row["modality"] == kind).filter_map(|row| number(row.get("tokenCount")?));
    counts.fold(0, u64::saturating_add)
}
