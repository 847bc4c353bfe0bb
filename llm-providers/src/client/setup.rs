use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};
use llm_core::{Clock, Error, SystemClock};
use secrecy::{ExposeSecret, SecretString};

use super::base_url::BaseUrl;
use crate::protocol::VendorProtocol;
#[cfg(feature = "reqwest")]
use crate::transport::Reqwest;

/// Client of one vendor: a [format](VendorProtocol) over a [transport](crate::transport).
///
/// [`OpenAi`](crate::OpenAi), [`Anthropic`](crate::Anthropic) and [`Gemini`](crate::Gemini) are aliases for one vendor
/// each. A client is a [`Provider`](llm_core::Provider), and a tower service for chat, streamed chat and embeddings, so
/// it can stand at the bottom of a stack. It is always ready, and has no limits but those on the size of responses.
/// Clones are cheap and share their connections.
///
/// ```
/// # async fn ask() -> Result<(), llm_core::Error> {
/// use llm_core::{Call, ChatRequest, Provider};
/// use llm_providers::OpenAi;
///
/// let openai = OpenAi::new("sk-…")?;
/// let reply = openai.chat(Call::new("acme", ChatRequest::new("gpt-4o-mini").user("hello"))).await?;
/// println!("{} took {:?}", reply.output.text(), reply.receipt.usage());
/// # Ok(()) }
/// ```
///
/// Its [`Receipt`](llm_core::Receipt)s name the vendor at once. They state the usage when the response has ended,
/// before hooks of outer layers run. If a stream breaks off or is dropped before the vendor stated its usage, the usage
/// stays unknown, and [`usage_so_far`](llm_core::layer::Accounting::usage_so_far) holds the counts that were stated.
/// The client knows no prices; the [ledger](crate::Ledger::attempts) does.
pub struct Client<W, #[cfg(feature = "reqwest")] T = Reqwest, #[cfg(not(feature = "reqwest"))] T> {
    pub(super) transport: T,
    pub(super) config: Arc<Config<W>>,
}

#[derive(Clone)]
pub(super) struct Config<W> {
    pub(super) name: Arc<str>,
    pub(super) protocol: W,
    pub(super) base_url: BaseUrl,
    pub(super) headers: HeaderMap,
    pub(super) max_event_bytes: usize,
    pub(super) max_body_bytes: usize,
    pub(super) clock: Arc<dyn Clock>,
    /// API key, which is removed from messages.
    key: Option<SecretString>,
    /// Values of the added headers, which are removed from messages.
    secrets: Vec<SecretString>,
}

#[cfg(feature = "reqwest")]
impl<W: VendorProtocol + Default> Client<W> {
    /// Creates a client of the vendor's own API with a key. Calls of the client need a tokio runtime, and fail with
    /// [`ErrorKind::Other`](llm_core::ErrorKind::Other) outside of one. Creating the client needs no runtime.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if the key is empty or has characters that no
    /// key has, such as a line break. Otherwise the errors of [`Reqwest::new`].
    pub fn new(key: impl Into<SecretString>) -> Result<Self, Error> {
        Self::with_transport(key, Reqwest::new()?)
    }

    /// Creates a client without a key, for your own servers. Set its [`base_url`](Self::base_url). Its calls need a
    /// tokio runtime, as those of [`new`](Self::new) do.
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let client = OpenAi::keyless()?.base_url("http://localhost:8080/v1")?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`Reqwest::new`].
    pub fn keyless() -> Result<Self, Error> {
        Self::keyless_with_transport(Reqwest::new()?)
    }
}

impl<W: VendorProtocol + Default, T> Client<W, T> {
    /// Creates a client as [`new`](Client::new) does, over your own transport.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if the key is not valid.
    pub fn with_transport(key: impl Into<SecretString>, transport: T) -> Result<Self, Error> {
        Self::with_protocol(W::default(), Some(key.into()), transport)
    }

    /// Creates a client as [`keyless`](Client::keyless) does, over your own transport.
    ///
    /// # Errors
    ///
    /// None today.
    pub fn keyless_with_transport(transport: T) -> Result<Self, Error> {
        Self::with_protocol(W::default(), None, transport)
    }
}

impl<W: VendorProtocol, T> Client<W, T> {
    /// Creates a client of any format, with or without a key, over any transport.
    ///
    /// ```
    /// use llm_providers::{Client, openai::OpenAiProtocol, transport::Reqwest};
    ///
    /// let client = Client::with_protocol(OpenAiProtocol::default(), Some("sk-secret".to_owned().into()), Reqwest::new()?)?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if the key or the format's own base URL is
    /// not valid.
    pub fn with_protocol(protocol: W, key: Option<SecretString>, transport: T) -> Result<Self, Error> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &key {
            if key.expose_secret().trim().is_empty() {
                return Err(Error::invalid("the api key is empty"));
            }
            protocol.authorize(key, &mut headers)?;
        }
        let config = Config {
            name: W::NAME.into(),
            protocol,
            base_url: BaseUrl::new(W::BASE_URL)?,
            headers,
            max_event_bytes: 1 << 20,
            max_body_bytes: 64 << 20,
            clock: Arc::new(SystemClock),
            key,
            secrets: Vec::new(),
        };
        Ok(Self { transport, config: Arc::new(config) })
    }

    /// Sets the base URL, to which the vendor's paths are appended.
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let client = OpenAi::new("sk-secret")?.base_url("https://eu.api.openai.com/v1")?;
    /// assert!(client.base_url("ftp://example.com").is_err());
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if it is not a complete `http` or `https`
    /// URL, or if it has a user, a query or a fragment, because secrets in URLs leak. The message does not quote the
    /// URL.
    pub fn base_url(mut self, url: &str) -> Result<Self, Error> {
        self.config().base_url = BaseUrl::new(url)?;
        Ok(self)
    }

    /// Sets the vendor's name on receipts and spans, for compatible servers. Default: the name that the format states.
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let client = OpenAi::keyless()?.base_url("http://localhost:8080/v1")?.name("own");
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.config().name = name.into();
        self
    }

    /// Adds a header to every call, which replaces a header of the same name. Its value is treated as a secret.
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let client = OpenAi::new("sk-secret")?.header("x-team", "billing")?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if the name or the value is not valid in a
    /// header.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, Error> {
        let name = HeaderName::try_from(name).map_err(|_| Error::invalid("the name of a header is not one"))?;
        let words: Vec<&str> = value.split_ascii_whitespace().map(|word| word.trim_end_matches([';', ','])).collect();
        // A scheme, such as `Bearer`, is not a secret. The words after the scheme are secret.
        let scheme = words.len() > 1 && words[0].bytes().all(|byte| byte.is_ascii_alphabetic());
        let value = HeaderValue::try_from(value)
            .map_err(|_| Error::invalid(format!("the value of header {name} has characters that no header has")))?;
        let config = self.config();
        config.headers.insert(name, secret(value));
        config.secrets.extend(words[usize::from(scheme)..].iter().map(|word| SecretString::from(*word)));
        Ok(self)
    }

    /// Sets the largest size of an event of a stream, in bytes. Default: 1 MiB. A larger event ends the stream with an
    /// error.
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let client = OpenAi::new("sk-secret")?.max_event_bytes(4 << 20);
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    pub fn max_event_bytes(mut self, most: usize) -> Self {
        self.config().max_event_bytes = most;
        self
    }

    /// Sets the largest size of a response, in bytes. Default: 64 MiB. A larger response is an error.
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let client = OpenAi::new("sk-secret")?.max_body_bytes(8 << 20);
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    pub fn max_body_bytes(mut self, most: usize) -> Self {
        self.config().max_body_bytes = most;
        self
    }

    /// Sets the clock with which a `Retry-After` that states a date is compared. Default: the machine's clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.config().clock = Arc::new(clock);
        self
    }

    /// Returns the vendor's format, with the settings of this client.
    ///
    /// ```
    /// use llm_providers::OpenAi;
    ///
    /// let client = OpenAi::new("sk-secret")?;
    /// assert!(format!("{:?}", client.protocol()).contains("openai"));
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    pub fn protocol(&self) -> &W {
        &self.config.protocol
    }

    /// Changes the settings of the vendor's format.
    pub(crate) fn edit_protocol(mut self, change: impl FnOnce(&mut W)) -> Self {
        change(&mut self.config().protocol);
        self
    }

    fn config(&mut self) -> &mut Config<W> {
        Arc::make_mut(&mut self.config)
    }
}

impl<W> Config<W> {
    /// Returns the key and the values of added headers, which are removed from messages.
    pub(super) fn secrets(&self) -> Vec<SecretString> {
        self.key.iter().chain(&self.secrets).cloned().collect()
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_ref().map(|key| key.expose_secret())
    }
}

impl<W, T: Clone> Clone for Client<W, T> {
    fn clone(&self) -> Self {
        Self { transport: self.transport.clone(), config: Arc::clone(&self.config) }
    }
}

impl<W: fmt::Debug, T> fmt::Debug for Client<W, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config { name, protocol, max_event_bytes, max_body_bytes, .. } = &*self.config;
        f.debug_struct("Client")
            .field("name", name)
            .field("protocol", protocol)
            .field("max_event_bytes", max_event_bytes)
            .field("max_body_bytes", max_body_bytes)
            .finish_non_exhaustive()
    }
}

/// Marks a header's value as secret, so that its `Debug` output does not show it.
pub(crate) fn secret(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}
