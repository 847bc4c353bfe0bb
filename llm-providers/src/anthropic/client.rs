use http::HeaderValue;
use llm_core::Error;

use super::protocol::AnthropicProtocol;
use crate::client::Client;
#[cfg(feature = "reqwest")]
use crate::transport::Reqwest;

/// Client of Anthropic.
///
/// Anthropic has no embeddings, so a call for embeddings returns
/// [`ErrorKind::Unsupported`](llm_core::ErrorKind::Unsupported).
///
/// ```
/// # async fn ask() -> Result<(), llm_core::Error> {
/// use llm_core::{Call, ChatRequest, Provider};
/// use llm_providers::Anthropic;
///
/// let anthropic = Anthropic::new("sk-ant-…")?.default_max_tokens(1_000);
/// let reply = anthropic.chat(Call::new("acme", ChatRequest::new("claude-haiku-4-5").user("hello"))).await?;
/// println!("{} took {:?}", reply.output.text(), reply.receipt.usage());
/// # Ok(()) }
/// ```
#[cfg(feature = "reqwest")]
pub type Anthropic<T = Reqwest> = Client<AnthropicProtocol, T>;

/// Client of Anthropic.
#[cfg(not(feature = "reqwest"))]
pub type Anthropic<T> = Client<AnthropicProtocol, T>;

impl<T> Client<AnthropicProtocol, T> {
    /// Sets the largest number of output tokens for requests that do not set one. The vendor requires this number in
    /// each request. Default: 4,096.
    ///
    /// ```
    /// use llm_providers::Anthropic;
    ///
    /// let client = Anthropic::new("sk-ant-secret")?.default_max_tokens(1_000);
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    pub fn default_max_tokens(self, most: u64) -> Self {
        self.edit_protocol(|protocol| protocol.options.max_tokens = most)
    }

    /// Sends an approximation instead of returning an error for some features that the format lacks. The table of
    /// [`Options::approximate`](super::Options) lists them.
    pub fn approximate(self, on: bool) -> Self {
        self.edit_protocol(|protocol| protocol.options.approximate = on)
    }

    /// Enables a beta feature of the vendor, by its name. Call this once for each feature.
    ///
    /// ```
    /// use llm_providers::Anthropic;
    ///
    /// let client = Anthropic::new("sk-ant-secret")?.beta("context-1m-2025-08-07")?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if the name cannot be in a header.
    pub fn beta(self, name: &str) -> Result<Self, Error> {
        let refused = |_| Error::invalid("the name of a beta has characters that no header has");
        HeaderValue::try_from(name).map_err(refused)?;
        Ok(self.edit_protocol(|protocol| protocol.betas.push(name.to_owned())))
    }
}
