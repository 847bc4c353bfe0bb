use llm_core::Usage;

use crate::protocol::{
    fields::Fields,
    usage::{StatedUsage, Unusable},
};

/// Counts of tokens and searches in one statement of usage, in the order of [`COUNTS`].
pub(super) type Counts = [Option<u64>; 8];

pub(super) const COUNTS: [&str; 8] = [
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    // Tokens written to the prompt cache with a lifetime of 5 minutes, and of 1 hour.
    "cache_creation.ephemeral_5m_input_tokens",
    "cache_creation.ephemeral_1h_input_tokens",
    "output_tokens_details.thinking_tokens",
    "server_tool_use.web_search_requests",
];
/// Reads the counts of a usage or of one iteration. A detail whose value is not a valid count is left out.
///
/// # Errors
///
/// [`Unusable`] if the value of one of the four counts of input and output tokens is not a valid count.
pub(super) fn counts(fields: &Fields, stated: &mut StatedUsage) -> Result<Counts, Unusable> {
    let [input, output, read, written, details @ ..] = COUNTS.map(|path| stated.count(fields, path));
    let [short, long, thinking, searches] = details.map(|count| count.ok().flatten());
    Ok([input?, output?, read?, written?, short, long, thinking, searches])
}

/// Converts the vendor's counts. Its `input_tokens` exclude tokens read from or written to the prompt cache;
/// [`Usage::input`] includes them.
pub(super) fn usage(counts: Counts) -> Option<Usage> {
    let [Some(fresh), Some(output), read, written, short, long, thinking, searches] = counts else { return None };
    let (read, long) = (read.unwrap_or(0), long.unwrap_or(0));
    // Written tokens without a stated lifetime count as written for 5 minutes, the vendor's default.
    let cache_write = written.unwrap_or(0).saturating_sub(long).max(short.unwrap_or(0));
    Some(Usage {
        cache_read: read,
        cache_write,
        cache_write_long: long,
        reasoning: thinking.unwrap_or(0),
        searches: searches.unwrap_or(0),
        ..Usage::new(fresh + read + cache_write + long, output)
    })
}
