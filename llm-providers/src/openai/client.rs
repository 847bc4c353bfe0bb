use llm_core::Error;

use super::protocol::OpenAiProtocol;
use crate::client::Client;
#[cfg(feature = "reqwest")]
use crate::transport::Reqwest;

/// Client of OpenAI, or of any server that speaks its format.
///
/// ```
/// # async fn ask() -> Result<(), llm_core::Error> {
/// use llm_core::{Call, ChatRequest, Provider};
/// use llm_providers::OpenAi;
///
/// let openai = OpenAi::new("sk-…")?;
/// let local = OpenAi::ollama()?;
/// let own = OpenAi::keyless()?.name("own").base_url("http://localhost:8080/v1")?.legacy_max_tokens(true);
/// let reply = openai.chat(Call::new("acme", ChatRequest::new("gpt-4o-mini").user("hello"))).await?;
/// println!("{} took {:?}", reply.output.text(), reply.receipt.usage());
/// # Ok(()) }
/// ```
#[cfg(feature = "reqwest")]
pub type OpenAi<T = Reqwest> = Client<OpenAiProtocol, T>;

/// Client of OpenAI, or of any server that speaks its format.
#[cfg(not(feature = "reqwest"))]
pub type OpenAi<T> = Client<OpenAiProtocol, T>;

impl<T> Client<OpenAiProtocol, T> {
    /// Sets the organisation to which the vendor bills every call (header `openai-organization`).
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let client = OpenAi::new("sk-secret")?.organization("org-1")?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`header`](Self::header).
    pub fn organization(self, id: &str) -> Result<Self, Error> {
        self.header("openai-organization", id)
    }

    /// Sets the project to which the vendor bills every call (header `openai-project`).
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let client = OpenAi::new("sk-secret")?.project("proj-1")?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`header`](Self::header).
    pub fn project(self, id: &str) -> Result<Self, Error> {
        self.header("openai-project", id)
    }

    /// Requests embeddings as base64, which is shorter than numbers. See
    /// [`Dialect::base64_embeddings`](super::Dialect::base64_embeddings).
    pub fn base64_embeddings(self, on: bool) -> Self {
        self.edit_protocol(|protocol| protocol.dialect.base64_embeddings = on)
    }

    /// Sends the bound on output tokens as `max_tokens`, for servers that do not know `max_completion_tokens`. See
    /// [`Dialect::legacy_max_tokens`](super::Dialect::legacy_max_tokens).
    pub fn legacy_max_tokens(self, on: bool) -> Self {
        self.edit_protocol(|protocol| protocol.dialect.legacy_max_tokens = on)
    }

    /// Sends an approximation instead of returning an error for some features that the format lacks. The table of
    /// [`Dialect::approximate`](super::Dialect::approximate) lists them.
    pub fn approximate(self, on: bool) -> Self {
        self.edit_protocol(|protocol| protocol.dialect.approximate = on)
    }

    /// Sends `top_k`, for servers that support this field. See [`Dialect::top_k`](super::Dialect::top_k).
    pub fn top_k(self, on: bool) -> Self {
        self.edit_protocol(|protocol| protocol.dialect.top_k = on)
    }
}
