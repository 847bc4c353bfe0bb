use std::{fmt, sync::Arc};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use llm_core::{Clock, Error, SystemClock};
use secrecy::{ExposeSecret, SecretString};

use super::{base_url::Endpoints, codec::Dialect};
#[cfg(feature = "reqwest")]
use crate::transport::Reqwest;

/// A client of OpenAI, or of any server that speaks its format.
///
/// It is a [`Provider`](llm_core::Provider), and a tower service for chat, streamed chat and embeddings, so it can
/// stand at the bottom of a stack. Always ready: it bounds nothing but the size of answers. Clones are cheap and share
/// their connections.
///
/// ```no_run
/// # async fn ask() -> Result<(), llm_core::Error> {
/// use llm_core::{Call, ChatRequest, Provider};
/// use llm_providers::OpenAi;
///
/// let openai = OpenAi::new("sk-…")?;
/// let local = OpenAi::keyless()?.name("ollama").base_url("http://localhost:11434/v1")?.legacy_max_tokens(true);
/// let reply = openai.chat(Call::new("acme", ChatRequest::new("gpt-4o-mini").user("hello"))).await?;
/// println!("{} took {:?}", reply.output.text(), reply.receipt.usage());
/// # Ok(()) }
/// ```
///
/// Its [`Receipt`](llm_core::Receipt)s say who answered at once, and the usage when the answer has ended: before hooks
/// of outer layers run. Where a stream breaks off or is dropped before the vendor told its usage, that stays unknown.
/// It knows no prices: the [ledger's tap](crate) does.
pub struct OpenAi<#[cfg(feature = "reqwest")] T = Reqwest, #[cfg(not(feature = "reqwest"))] T> {
    pub(super) transport: T,
    pub(super) config: Arc<Config>,
}

#[derive(Clone)]
pub(super) struct Config {
    pub(super) name: Arc<str>,
    pub(super) endpoints: Endpoints,
    pub(super) headers: HeaderMap,
    pub(super) dialect: Dialect,
    pub(super) max_event_bytes: usize,
    pub(super) max_body_bytes: usize,
    pub(super) clock: Arc<dyn Clock>,
    /// Kept to take it out of messages.
    key: Option<SecretString>,
}

#[cfg(feature = "reqwest")]
impl OpenAi {
    /// A client of `https://api.openai.com/v1` with a key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if the key is empty or has characters that no
    /// key has, such as a line's end; as [`Reqwest::new`].
    pub fn new(key: impl Into<SecretString>) -> Result<Self, Error> {
        Self::with_transport(key, Reqwest::new()?)
    }

    /// A client without a key, for servers of one's own. Set its [`base_url`](Self::base_url).
    ///
    /// # Errors
    ///
    /// As [`Reqwest::new`].
    pub fn keyless() -> Result<Self, Error> {
        Self::keyless_with_transport(Reqwest::new()?)
    }
}

impl<T> OpenAi<T> {
    /// As [`new`](OpenAi::new), over a transport of one's own.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if the key cannot be one.
    pub fn with_transport(key: impl Into<SecretString>, transport: T) -> Result<Self, Error> {
        let key = key.into();
        if key.expose_secret().trim().is_empty() {
            return Err(Error::invalid("the api key is empty"));
        }
        // The parts of a bad value are not shown: it is the key.
        let bearer = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
            .map_err(|_| Error::invalid("the api key has characters that cannot be in a header"))?;
        let mut client = Self::keyless_with_transport(transport)?;
        let config = client.config();
        config.key = Some(key);
        config.headers.insert(AUTHORIZATION, secret(bearer));
        Ok(client)
    }

    /// As [`keyless`](OpenAi::keyless), over a transport of one's own.
    ///
    /// # Errors
    ///
    /// None today.
    pub fn keyless_with_transport(transport: T) -> Result<Self, Error> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let config = Config {
            name: "openai".into(),
            endpoints: Endpoints::below("https://api.openai.com/v1")?,
            headers,
            dialect: Dialect::default(),
            max_event_bytes: 1 << 20,
            max_body_bytes: 64 << 20,
            clock: Arc::new(SystemClock),
            key: None,
        };
        Ok(Self { transport, config: Arc::new(config) })
    }

    /// Sets the address below which `/chat/completions` and `/embeddings` are.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if it is not a whole `http` or `https` URL, or
    /// if it has a user, a query or a fragment: secrets in URLs leak. Its message does not quote the URL.
    pub fn base_url(mut self, url: &str) -> Result<Self, Error> {
        self.config().endpoints = Endpoints::below(url)?;
        Ok(self)
    }

    /// Sets the vendor's name on receipts and spans, for compatible servers. `openai` unless told.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.config().name = name.into();
        self
    }

    /// Sends every call in the name of an organisation.
    ///
    /// # Errors
    ///
    /// As [`header`](Self::header).
    pub fn organization(self, id: &str) -> Result<Self, Error> {
        self.header("openai-organization", id)
    }

    /// Sends every call in the name of a project.
    ///
    /// # Errors
    ///
    /// As [`header`](Self::header).
    pub fn project(self, id: &str) -> Result<Self, Error> {
        self.header("openai-project", id)
    }

    /// Sends a further header with every call, in place of one of the same name. Its value is treated as a secret.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if the name or the value cannot be a header's.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, Error> {
        let name = HeaderName::try_from(name).map_err(|_| Error::invalid("the name of a header is not one"))?;
        let value = HeaderValue::try_from(value)
            .map_err(|_| Error::invalid(format!("the value of header {name} has characters that no header has")))?;
        self.config().headers.insert(name, secret(value));
        Ok(self)
    }

    /// Bounds one event of a stream, in bytes; 1 MiB unless told. A longer one ends the stream with an error.
    pub fn max_event_bytes(mut self, most: usize) -> Self {
        self.config().max_event_bytes = most;
        self
    }

    /// Bounds a whole answer, in bytes; 64 MiB unless told. A longer one is an error.
    pub fn max_body_bytes(mut self, most: usize) -> Self {
        self.config().max_body_bytes = most;
        self
    }

    /// Asks for embeddings as base64, which is shorter: [`Dialect::base64_embeddings`].
    pub fn base64_embeddings(mut self, on: bool) -> Self {
        self.config().dialect.base64_embeddings = on;
        self
    }

    /// Bounds answers by `max_tokens`, for older servers: [`Dialect::legacy_max_tokens`].
    pub fn legacy_max_tokens(mut self, on: bool) -> Self {
        self.config().dialect.legacy_max_tokens = on;
        self
    }

    /// Sends `top_k`, for servers that have it: [`Dialect::top_k`].
    pub fn top_k(mut self, on: bool) -> Self {
        self.config().dialect.top_k = on;
        self
    }

    /// Sets the clock that a `Retry-After` with a date is compared with; the machine's unless told.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.config().clock = Arc::new(clock);
        self
    }

    fn config(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.config)
    }
}

impl Config {
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_ref().map(|key| key.expose_secret())
    }
}

impl<T: Clone> Clone for OpenAi<T> {
    fn clone(&self) -> Self {
        Self { transport: self.transport.clone(), config: Arc::clone(&self.config) }
    }
}

impl<T> fmt::Debug for OpenAi<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config { name, dialect, max_event_bytes, max_body_bytes, .. } = &*self.config;
        f.debug_struct("OpenAi")
            .field("name", name)
            .field("dialect", dialect)
            .field("max_event_bytes", max_event_bytes)
            .field("max_body_bytes", max_body_bytes)
            .finish_non_exhaustive()
    }
}

fn secret(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}
