use std::sync::Arc;

use crate::fingerprint::Fingerprinter;

/// Parameters of a model's output: sampling, length, number of responses.
///
/// ```
/// use llm_core::{ChatRequest, chat::Sampling};
///
/// let sampling = Sampling { temperature: Some(0.7), n: Some(3), ..Sampling::default() };
/// assert!(ChatRequest::new("m").user("A name for a cat?").sampling(sampling).validate().is_ok());
/// ```
///
/// The type is not `#[non_exhaustive]`, so that the function that writes the cache key can name every field: a new
/// field that it does not write breaks the build.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// Randomness: 0 chooses the likeliest token each time, higher values choose others more often.
    pub temperature: Option<f64>,
    /// Share of the probability, 0 to 1, from which tokens are chosen: the likeliest tokens that make up this share.
    pub top_p: Option<f64>,
    /// Number of the likeliest tokens from which one is chosen.
    pub top_k: Option<u64>,
    /// Penalty that grows with the number of times that a token has occurred, −2 to 2.
    pub frequency_penalty: Option<f64>,
    /// Penalty for tokens that have occurred at all, −2 to 2.
    pub presence_penalty: Option<f64>,
    /// Seed for reproducible responses, for vendors that support it.
    pub seed: Option<i64>,
    /// Texts at which the model stops.
    pub stop: Vec<Arc<str>>,
    /// Number of alternative responses (choices) to return.
    pub n: Option<u32>,
    /// Largest number of output tokens of each response, reasoning included.
    pub max_output_tokens: Option<u64>,
    /// True to return the log probabilities of output tokens.
    pub logprobs: Option<bool>,
    /// Number of likeliest alternatives whose log probabilities are returned at each position.
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
