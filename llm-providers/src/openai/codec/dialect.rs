/// How a server differs from OpenAI in what it takes.
///
/// Every server that speaks OpenAI's format is served by one codec and one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Dialect {
    /// Sends the bound on output tokens as `max_tokens`, for servers that do not know `max_completion_tokens`.
    pub legacy_max_tokens: bool,
    /// Sends `top_k`, which OpenAI does not have and many compatible servers do. Otherwise a request with it is refused.
    pub top_k: bool,
    /// Asks for embeddings as base64 of little-endian 32-bit floats, a fifth of the bytes of decimal numbers.
    /// Both forms are understood in answers whatever was asked for.
    pub base64_embeddings: bool,
}
