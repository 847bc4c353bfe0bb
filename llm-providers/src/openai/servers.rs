//! Clients of the servers that speak OpenAI's format.

use llm_core::Error;
use secrecy::SecretString;

use super::{codec::Dialect, protocol::OpenAiProtocol, route::Route};
use crate::client::Client;
#[cfg(feature = "reqwest")]
use crate::transport::Reqwest;

#[cfg(feature = "reqwest")]
impl Client<OpenAiProtocol> {
    /// Creates a client of Azure OpenAI by its newer URLs, `{endpoint}/openai/v1`. The model of a request is the
    /// deployment's name. An endpoint looks like `https://example.openai.azure.com`.
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let azure = OpenAi::azure("https://example.openai.azure.com", "the-key")?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Client::new) and [`base_url`](Client::base_url).
    pub fn azure(endpoint: &str, key: impl Into<SecretString>) -> Result<Self, Error> {
        Self::with_dialect(Dialect::AZURE, Some(key.into()), Reqwest::new()?)?.base_url(&below(endpoint, "openai/v1"))
    }

    /// Creates a client of Azure OpenAI by its URLs for deployments,
    /// `{endpoint}/openai/deployments/{model}/…?api-version={version}`. The model of a request is the deployment's
    /// name.
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let azure = OpenAi::azure_deployments("https://example.openai.azure.com", "2024-10-21", "the-key")?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`azure`](Self::azure), and [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if
    /// the version is not valid.
    pub fn azure_deployments(endpoint: &str, version: &str, key: impl Into<SecretString>) -> Result<Self, Error> {
        let client = Self::with_dialect(Dialect::AZURE, Some(key.into()), Reqwest::new()?)?;
        client.deployments(version)?.base_url(&below(endpoint, "openai"))
    }

    /// Creates a client of Azure AI Foundry, which serves models of several vendors:
    /// `{endpoint}/models/…?api-version={version}`, with an endpoint such as `https://example.services.ai.azure.com`.
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let azure = OpenAi::azure_foundry("https://example.services.ai.azure.com", "2024-05-01-preview", "the-key")?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`azure_deployments`](Self::azure_deployments).
    pub fn azure_foundry(endpoint: &str, version: &str, key: impl Into<SecretString>) -> Result<Self, Error> {
        let client = Self::with_dialect(Dialect::AZURE, Some(key.into()), Reqwest::new()?)?;
        client.api_version(version)?.base_url(&below(endpoint, "models"))
    }

    /// Creates a client of Ollama at port 11434 of this machine, with the dialect [`Dialect::OLLAMA`]. For a server
    /// elsewhere, set [`base_url`](Client::base_url).
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let local = OpenAi::ollama()?;
    /// let remote = OpenAi::ollama()?.base_url("http://ollama.internal:11434/v1")?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`Reqwest::new`].
    pub fn ollama() -> Result<Self, Error> {
        Self::with_dialect(Dialect::OLLAMA, None, Reqwest::new()?)
    }

    /// Creates a client of vLLM at a base URL such as `http://localhost:8000/v1`, with the dialect [`Dialect::VLLM`].
    /// For a server that requires a key, use [`with_dialect`](Client::with_dialect) instead.
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let vllm = OpenAi::vllm("http://localhost:8000/v1")?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`base_url`](Client::base_url).
    pub fn vllm(base_url: &str) -> Result<Self, Error> {
        Self::with_dialect(Dialect::VLLM, None, Reqwest::new()?)?.base_url(base_url)
    }

    /// Creates a client of Mistral, with the dialect [`Dialect::MISTRAL`].
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let mistral = OpenAi::mistral("the-key")?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Client::new).
    pub fn mistral(key: impl Into<SecretString>) -> Result<Self, Error> {
        Self::with_dialect(Dialect::MISTRAL, Some(key.into()), Reqwest::new()?)
    }

    /// Creates a client of Groq, with the dialect [`Dialect::GROQ`].
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let groq = OpenAi::groq("the-key")?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Client::new).
    pub fn groq(key: impl Into<SecretString>) -> Result<Self, Error> {
        Self::with_dialect(Dialect::GROQ, Some(key.into()), Reqwest::new()?)
    }

    /// Creates a client of DeepSeek, with the dialect [`Dialect::DEEPSEEK`].
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let deepseek = OpenAi::deepseek("the-key")?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Client::new).
    pub fn deepseek(key: impl Into<SecretString>) -> Result<Self, Error> {
        Self::with_dialect(Dialect::DEEPSEEK, Some(key.into()), Reqwest::new()?)
    }

    /// Creates a client of OpenRouter, with the dialect [`Dialect::OPENROUTER`].
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let openrouter = OpenAi::openrouter("the-key")?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Client::new).
    pub fn openrouter(key: impl Into<SecretString>) -> Result<Self, Error> {
        Self::with_dialect(Dialect::OPENROUTER, Some(key.into()), Reqwest::new()?)
    }

    /// Creates a client of Gemini behind OpenAI's format, with the dialect [`Dialect::GEMINI`].
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let gemini = OpenAi::gemini("the-key")?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Client::new).
    pub fn gemini(key: impl Into<SecretString>) -> Result<Self, Error> {
        Self::with_dialect(Dialect::GEMINI, Some(key.into()), Reqwest::new()?)
    }
}

impl<T> Client<OpenAiProtocol, T> {
    /// Creates a client of a server that speaks OpenAI's format in this dialect, with or without a key, over any
    /// transport.
    ///
    /// ```
    /// use llm_providers::{OpenAi, openai::Dialect, transport::Reqwest};
    ///
    /// let client = OpenAi::with_dialect(Dialect::VLLM, Some("the-key".into()), Reqwest::new()?)?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`with_protocol`](Client::with_protocol).
    pub fn with_dialect(dialect: Dialect, key: Option<SecretString>, transport: T) -> Result<Self, Error> {
        let client = Self::with_protocol(OpenAiProtocol::new(dialect), key, transport)?;
        client.name(dialect.name).base_url(dialect.base_url)
    }

    /// Sends requests to paths below `deployments/{model}/` with an `api-version`, as Azure's older URLs require.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if the version is not valid.
    pub fn deployments(self, version: &str) -> Result<Self, Error> {
        let route = Route::deployment(version)?;
        Ok(self.edit_protocol(|protocol| protocol.route = route))
    }

    /// Adds an `api-version` to every URL, as Azure AI Foundry requires.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if the version is not valid.
    pub fn api_version(self, version: &str) -> Result<Self, Error> {
        let route = Route::versioned(version)?;
        Ok(self.edit_protocol(|protocol| protocol.route = route))
    }
}

#[cfg(feature = "reqwest")]
fn below(endpoint: &str, path: &str) -> String {
    format!("{}/{path}", endpoint.trim().trim_end_matches('/'))
}
