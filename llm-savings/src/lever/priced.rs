//! Prices of a call if the vendor's prompt cache had been used differently.

use llm_core::{Usage, Usd, price::PriceTable};

use super::call::share;
use crate::record::Prompt;

/// Smallest number of tokens of a cached prefix, by a part of the model's name, according to the vendors' documentation
/// of November 2026.
const MIN_TOKENS: [(&str, u64); 16] = [
    ("claude-opus-5", 512),
    ("claude-fable-5", 512),
    ("claude-mythos-5", 512),
    ("claude-sonnet-5-5", 512),
    ("claude-haiku-5-5", 512),
    ("claude-opus-4-7", 2_048),
    ("claude-opus-4-5", 4_096),
    ("claude-opus-4-6", 4_096),
    ("claude-haiku-4-5", 4_096),
    ("claude-3-5-haiku", 2_048),
    ("claude-3-haiku", 2_048),
    ("gemini-2.5", 2_048),
    ("gemini-3.1-pro", 4_096),
    ("gemini-3.5", 4_096),
    ("gemini-3.6", 4_096),
    ("gemini-4", 4_096),
];
const USUAL_MIN_TOKENS: u64 = 1_024;

/// Call with its price if nothing is read from or written to the vendor's prompt cache.
pub(super) struct Priced<'a> {
    pub(super) model: &'a str,
    /// Tokens of the call, none of which are cached.
    pub(super) plain: Usage,
    pub(super) without: Usd,
    pub(super) prompt: &'a Prompt,
    pub(super) prices: &'a PriceTable,
}

impl Priced<'_> {
    /// Returns the number of tokens in the first `bytes` bytes, at the prompt's ratio of tokens to bytes.
    pub(super) fn tokens(&self, bytes: u64) -> u64 {
        share(self.plain.input, bytes, self.prompt.bytes())
    }

    /// Returns `tokens` if the vendor caches prefixes of this number of tokens, otherwise 0.
    pub(super) fn worth_caching(&self, tokens: u64) -> u64 {
        if tokens < min_tokens(self.model) { 0 } else { tokens }
    }

    /// Returns `true` if writing to the vendor's cache costs more than plain input.
    pub(super) fn charges_writes(&self) -> bool {
        let written = Usage { cache_write: self.plain.input, ..self.plain };
        self.prices.cost(self.model, &written).is_ok_and(|cost| cost > self.without)
    }
}

fn min_tokens(model: &str) -> u64 {
    let listed = MIN_TOKENS.iter().filter(|(name, _)| model.contains(name));
    listed.max_by_key(|(name, _)| name.len()).map_or(USUAL_MIN_TOKENS, |(_, tokens)| *tokens)
}
