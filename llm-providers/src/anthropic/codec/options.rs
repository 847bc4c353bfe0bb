/// Settings of the codec, for values that this format requires and a request may leave open.
///
/// ```
/// use llm_providers::anthropic::{AnthropicProtocol, Options};
///
/// let protocol = AnthropicProtocol::new(Options::default().max_tokens(1_000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Options {
    /// Largest number of output tokens for requests that do not set one; 4,096 by default. The vendor requires it in
    /// each request.
    pub max_tokens: u64,
    /// True to send the nearest request that the format allows, instead of returning an error, if the format lacks a
    /// field that only influences the response:
    ///
    /// | field | instead |
    /// |---|---|
    /// | `sampling.seed`, penalties, `logprobs`, `top_logprobs` | left out |
    /// | a message's `name`, an image's `detail` | left out |
    /// | reasoning without a signature or with another vendor's signature | left out |
    /// | other unknown fields that another vendor's response left in a part | left out |
    /// | a schema's `description` | left out |
    /// | `reasoning_effort` of a model that has no levels | left out |
    /// | `reasoning_effort` `minimal` | `low` |
    pub approximate: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_tokens: 4_096, approximate: false }
    }
}

impl Options {
    /// Sets the largest number of output tokens for requests that do not set one.
    pub fn max_tokens(self, most: u64) -> Self {
        Self { max_tokens: most, ..self }
    }

    /// Sets if the codec sends the nearest request that the format allows, instead of returning an error. The table of
    /// [`approximate`](Self::approximate) lists the fields.
    pub fn approximate(self, on: bool) -> Self {
        Self { approximate: on, ..self }
    }
}
