use std::sync::Arc;

use llm_core::{ChatRequest, Usage};
use serde_json::Value;

use crate::wire::{
    Settings,
    fields::{Fields, take_object},
};

/// What an answer says it took and how it was served, as far as it has said so yet: later figures replace earlier ones,
/// and what they leave out stays as it was told.
#[derive(Debug, Default)]
pub(in super::super) struct Told {
    counts: [Option<u64>; 4],
    written: [Option<u64>; 2],
    thinking: Option<u64>,
    searches: Option<u64>,
    service_tier: Option<Arc<str>>,
    settings: Settings,
    surcharges: Vec<Arc<str>>,
}

const COUNTS: [&str; 4] = ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"];
/// For minutes, and for an hour.
const WRITTEN: [&str; 2] = ["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"];
const THINKING: &str = "thinking_tokens";

impl Told {
    /// Of the answer to this request: what it does not tell of surcharges is as it was asked for.
    pub(in super::super) fn asked(request: &ChatRequest) -> Self {
        let mut told = Self::default();
        told.settings.take(|name| request.extra.get(name));
        told.surcharges = told.settings.charged();
        told
    }

    /// Reads a usage, or a piece of one.
    pub(in super::super) fn read(&mut self, told: &Fields) {
        let tier = told.get("service_tier").and_then(Value::as_str).map(Arc::from);
        self.service_tier = tier.or(self.service_tier.take());
        self.settings.take(|name| told.get(name));
        self.surcharges = self.settings.charged();
        let within = |group: &str, name: &str| told.get(group)?.get(name)?.as_u64();
        for (known, name) in self.counts.iter_mut().zip(COUNTS) {
            *known = told.get(name).and_then(Value::as_u64).or(*known);
        }
        for (known, name) in self.written.iter_mut().zip(WRITTEN) {
            *known = within("cache_creation", name).or(*known);
        }
        self.thinking = within("output_tokens_details", THINKING).or(self.thinking);
        self.searches = within("server_tool_use", "web_search_requests").or(self.searches);
    }

    /// Takes out of a usage what is read of it. What has no place in [`Usage`] (the service class, a vendor's own tools)
    /// stays behind; all of it does where the usage is not known.
    pub(in super::super) fn strip(&self, told: &mut Fields) {
        if self.usage().is_some() {
            take(told, &COUNTS);
            for (group, names) in [("cache_creation", &WRITTEN[..]), ("output_tokens_details", &[THINKING])] {
                let Some(mut details) = take_object(told, group) else { continue };
                take(&mut details, names);
                if !details.is_empty() {
                    told.insert(group.to_owned(), Value::Object(details));
                }
            }
        }
        told.retain(|_, value| !value.is_null());
    }

    /// The vendor's `input_tokens` are those neither read from nor written to the prompt cache; here they are all.
    pub(in super::super) fn usage(&self) -> Option<Usage> {
        let [Some(fresh), Some(output), read, written] = self.counts else { return None };
        let [short, long] = self.written.map(|count| count.unwrap_or(0));
        let cache_read = read.unwrap_or(0);
        // What the split does not name was written for the usual life time.
        let cache_write = written.unwrap_or(0).saturating_sub(long).max(short);
        let input = [cache_read, cache_write, long].into_iter().fold(fresh, u64::saturating_add);
        let (reasoning, searches) = (self.thinking.unwrap_or(0), self.searches.unwrap_or(0));
        Some(Usage {
            cache_read,
            cache_write,
            cache_write_long: long,
            reasoning,
            searches,
            ..Usage::new(input, output)
        })
    }

    pub(in super::super) fn service_tier(&self) -> Option<&Arc<str>> {
        self.service_tier.as_ref()
    }

    pub(in super::super) fn surcharges(&self) -> &[Arc<str>] {
        &self.surcharges
    }
}

fn take(fields: &mut Fields, names: &[&str]) {
    for name in names {
        if fields.get(*name).is_some_and(|count| count.is_null() || count.is_u64()) {
            fields.remove(*name);
        }
    }
}
