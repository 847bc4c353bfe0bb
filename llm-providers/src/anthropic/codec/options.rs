/// Values of settings that a request leaves open and this format requires.
///
/// ```
/// use llm_providers::anthropic::{AnthropicProtocol, Options};
///
/// let protocol = AnthropicProtocol::new(Options::default().max_tokens(1_000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Options {
    /// Bound on output tokens of requests that have none; 4,096 by default. The vendor requires one in each request.
    pub max_tokens: u64,
    /// Sends what is nearest where the format has no place for a wish that only steers the response, in place of an
    /// error:
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
    /// Sets the bound on output tokens of requests that have none.
    pub fn max_tokens(self, most: u64) -> Self {
        Self { max_tokens: most, ..self }
    }

    /// Sends the nearest request that the format allows in place of some errors: see [`approximate`](Self::approximate).
    pub fn approximate(self, on: bool) -> Self {
        Self { approximate: on, ..self }
    }
}
