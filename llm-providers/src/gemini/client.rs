use super::protocol::GeminiProtocol;
use crate::client::Client;
#[cfg(feature = "reqwest")]
use crate::transport::Reqwest;

/// Client of Gemini. The key is sent in the header `x-goog-api-key`, never in a URL.
///
/// The base URL ends with the version of the API: `v1beta` unless [`base_url`](Client::base_url) sets one with `v1`.
///
/// ```
/// # async fn ask() -> Result<(), llm_core::Error> {
/// use llm_core::{Call, ChatRequest, Provider};
/// use llm_providers::Gemini;
///
/// let gemini = Gemini::new("AIza…")?.include_thoughts(true);
/// let stable = Gemini::new("AIza…")?.base_url("https://generativelanguage.googleapis.com/v1")?;
/// let reply = gemini.chat(Call::new("acme", ChatRequest::new("gemini-3-flash").user("hello"))).await?;
/// println!("{} took {:?}", reply.output.text(), reply.receipt.usage());
/// # Ok(()) }
/// ```
#[cfg(feature = "reqwest")]
pub type Gemini<T = Reqwest> = Client<GeminiProtocol, T>;

/// Client of Gemini. The key is sent in the header `x-goog-api-key`, never in a URL.
#[cfg(not(feature = "reqwest"))]
pub type Gemini<T> = Client<GeminiProtocol, T>;

impl<T> Client<GeminiProtocol, T> {
    /// Requests summaries of the model's thoughts. See [`Dialect::include_thoughts`](super::Dialect::include_thoughts).
    pub fn include_thoughts(self, on: bool) -> Self {
        self.edit_protocol(|protocol| protocol.dialect.include_thoughts = on)
    }

    /// Leaves out fields of another vendor's responses in the conversation, instead of returning an error. See
    /// [`Dialect::approximate`](super::Dialect::approximate).
    pub fn approximate(self, on: bool) -> Self {
        self.edit_protocol(|protocol| protocol.dialect.approximate = on)
    }

    /// Sends schemas in `parameters` and `responseSchema`, for models that do not know `parametersJsonSchema` and
    /// `responseJsonSchema`. See [`Dialect::openapi_schemas`](super::Dialect::openapi_schemas).
    pub fn openapi_schemas(self, on: bool) -> Self {
        self.edit_protocol(|protocol| protocol.dialect.openapi_schemas = on)
    }
}
