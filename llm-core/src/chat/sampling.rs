use std::sync::Arc;

use crate::fingerprint::Fingerprinter;

/// Sampling of a model's output, and its length.
///
/// ```
/// use llm_core::{ChatRequest, chat::Sampling};
///
/// let sampling = Sampling { temperature: Some(0.7), n: Some(3), ..Sampling::default() };
/// assert!(ChatRequest::new("m").user("A name for a cat?").sampling(sampling).validate().is_ok());
/// ```
///
/// Not `#[non_exhaustive]`: the cache key takes it apart field by field, so that a new field that a key would forget
/// breaks the build.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// 0 for the likeliest words; higher for more variety.
    pub temperature: Option<f64>,
    /// Pick among the likeliest words that make up this share, 0 to 1.
    pub top_p: Option<f64>,
    /// Pick among this many of the likeliest words.
    pub top_k: Option<u64>,
    /// Penalty for words by how often they came, −2 to 2.
    pub frequency_penalty: Option<f64>,
    /// Penalty for words that came at all, −2 to 2.
    pub presence_penalty: Option<f64>,
    /// Seed for repeatable responses, for vendors that support one.
    pub seed: Option<i64>,
    /// Texts that end the response.
    pub stop: Vec<Arc<str>>,
    /// Number of responses to give.
    pub n: Option<u32>,
    /// Largest number of output tokens of each response, reasoning included.
    pub max_output_tokens: Option<u64>,
    /// True to return the probabilities of tokens.
    pub logprobs: Option<bool>,
    /// Number of alternatives to return them for.
    pub top_logprobs: Option<u32>,
}

impl Sampling {
    pub(super) fn fingerprint<'h>(&self, h: &'h mut Fingerprinter) -> &'h mut Fingerprinter {
        let Self {
            temperature,
            top_p,
            top_k,
            frequency_penalty,
            presence_penalty,
            seed,
            stop,
            n,
            max_output_tokens,
            logprobs,
            top_logprobs,
        } = self;
        for number in [temperature, top_p, frequency_penalty, presence_penalty] {
            h.option(*number, |h, number| h.float(number));
        }
        h.option(*top_k, |h, k| h.integer(k));
        h.option(*seed, |h, seed| h.integer(seed));
        h.list(stop, |h, text| h.text(text));
        h.option(*n, |h, n| h.integer(n));
        h.option(*max_output_tokens, |h, most| h.integer(most));
        h.option(*logprobs, |h, on| h.boolean(on));
        h.option(*top_logprobs, |h, k| h.integer(k))
    }
}
