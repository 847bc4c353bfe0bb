use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use llm_core::{Charge, Error, ErrorKind};
use tower_service::Service;

use super::cause::with_cause;
use crate::runtime;

/// Transport over HTTP by the crate `reqwest`, which reuses connections. It speaks HTTP/1.1, and with the feature
/// `http2` also HTTP/2 if the server offers it.
///
/// It follows no redirect, retries nothing, reads no proxy from the environment, and its errors hold no URL. Time-outs:
///
/// | | default | |
/// |---|---|---|
/// | connect | 10 s | for name look-up, TCP and TLS together; nothing was sent, so a timeout costs nothing |
/// | read | 300 s | before the first piece of a response and between two pieces; a model that thinks for a long time
/// sends nothing meanwhile | | total | none | it would cut long responses off, so use a call's deadline instead |
///
/// Idle connections are kept for 90 s, any number of them.
///
/// Always ready; clones share their connections. Each setter drops the connections, so call all setters before the
/// first call.
///
/// Its calls need a tokio runtime with its drivers enabled (`#[tokio::main]`, `Builder::enable_all`). Outside of a runtime
/// they fail with [`ErrorKind::Other`].
///
/// ```
/// use std::time::Duration;
/// use llm_providers::{OpenAi, transport::Reqwest};
///
/// let transport = Reqwest::new()?.read_timeout(Duration::from_secs(600))?;
/// let openai = OpenAi::with_transport("sk-secret", transport)?;
/// # Ok::<_, llm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reqwest {
    settings: Settings,
    client: reqwest::Client,
}

#[derive(Clone)]
struct Settings {
    connect: Duration,
    read: Duration,
    total: Option<Duration>,
    idle: Option<Duration>,
    most_idle: usize,
    proxy: Option<reqwest::Proxy>,
    #[cfg(feature = "rustls")]
    roots: Vec<reqwest::Certificate>,
    #[cfg(feature = "http2")]
    only_http2: bool,
}

impl Reqwest {
    /// Creates a transport with the default timeouts. Its calls need a tokio runtime; creating it does not.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Other`] if TLS cannot be set up on this machine.
    pub fn new() -> Result<Self, Error> {
        Self::build(Settings {
            connect: Duration::from_secs(10),
            read: Duration::from_secs(300),
            total: None,
            idle: Some(Duration::from_secs(90)),
            most_idle: usize::MAX,
            proxy: None,
            #[cfg(feature = "rustls")]
            roots: Vec::new(),
            #[cfg(feature = "http2")]
            only_http2: false,
        })
    }

    /// Sets the longest time to connect.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_providers::transport::Reqwest;
    ///
    /// let transport = Reqwest::new()?.connect_timeout(Duration::from_secs(2))?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new).
    pub fn connect_timeout(self, connect: Duration) -> Result<Self, Error> {
        Self::build(Settings { connect, ..self.settings })
    }

    /// Sets the longest time before the first piece of a response, and between two pieces.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_providers::transport::Reqwest;
    ///
    /// let transport = Reqwest::new()?.read_timeout(Duration::from_secs(600))?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new).
    pub fn read_timeout(self, read: Duration) -> Result<Self, Error> {
        Self::build(Settings { read, ..self.settings })
    }

    /// Sets the longest time of a call, from opening the connection to the last byte of the response.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_providers::transport::Reqwest;
    ///
    /// let transport = Reqwest::new()?.total_timeout(Duration::from_secs(900))?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new).
    pub fn total_timeout(self, total: Duration) -> Result<Self, Error> {
        Self::build(Settings { total: Some(total), ..self.settings })
    }

    /// Sets the time for which an idle connection is kept. With `None` it is kept until the server closes it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_providers::transport::Reqwest;
    ///
    /// let transport = Reqwest::new()?.idle_timeout(Some(Duration::from_secs(30)))?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new).
    pub fn idle_timeout(self, idle: Option<Duration>) -> Result<Self, Error> {
        Self::build(Settings { idle, ..self.settings })
    }

    /// Sets the largest number of idle connections to one host. With 0 every call opens a new connection.
    ///
    /// ```
    /// use llm_providers::transport::Reqwest;
    ///
    /// let transport = Reqwest::new()?.max_idle_connections(8)?;
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new).
    pub fn max_idle_connections(self, most_idle: usize) -> Result<Self, Error> {
        Self::build(Settings { most_idle, ..self.settings })
    }

    /// Sets a proxy for all requests, such as `http://proxy.example:3128`. Its URL may contain a user and a password,
    /// and is never shown.
    ///
    /// ```
    /// use llm_providers::transport::Reqwest;
    ///
    /// let transport = Reqwest::new()?.proxy("http://proxy.example:3128")?;
    /// assert!(Reqwest::new()?.proxy("not a URL").is_err());
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] if `url` is not a URL. The message does not quote `url`. Otherwise the errors of
    /// [`new`](Self::new).
    pub fn proxy(self, url: &str) -> Result<Self, Error> {
        let proxy = reqwest::Proxy::all(url).map_err(|_| Error::invalid("the proxy is not a URL"))?;
        Self::build(Settings { proxy: Some(proxy), ..self.settings })
    }

    /// Trusts these certificates (PEM, one or several) in addition to those of the machine.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] if `pem` contains no certificate or an invalid one.
    #[cfg(feature = "rustls")]
    pub fn root_certificates(self, pem: &[u8]) -> Result<Self, Error> {
        let wrong = || Error::invalid("the root certificates are not PEM");
        let more = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| wrong().with_source(error))?;
        if more.is_empty() {
            return Err(wrong());
        }
        let mut settings = self.settings;
        settings.roots.extend(more);
        // The other settings were accepted before, so the certificates must be the cause of the error.
        Self::build(settings).map_err(|error| wrong().with_source(error))
    }

    /// Uses HTTP/2 without negotiation, even for plain `http` URLs. By default the TLS handshake negotiates the
    /// version.
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new).
    #[cfg(feature = "http2")]
    pub fn only_http2(self, only_http2: bool) -> Result<Self, Error> {
        Self::build(Settings { only_http2, ..self.settings })
    }

    fn build(settings: Settings) -> Result<Self, Error> {
        let Settings { connect, read, total, idle, most_idle, proxy, .. } = settings.clone();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect)
            .read_timeout(read)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .pool_idle_timeout(idle)
            .pool_max_idle_per_host(most_idle)
            .tcp_nodelay(true);
        if let Some(total) = total {
            builder = builder.timeout(total);
        }
        if let Some(proxy) = proxy {
            builder = builder.proxy(proxy);
        }
        #[cfg(feature = "rustls")]
        if !settings.roots.is_empty() {
            builder = builder.tls_certs_merge(settings.roots.clone());
        }
        #[cfg(feature = "http2")]
        if settings.only_http2 {
            builder = builder.http2_prior_knowledge();
        }
        match builder.build() {
            Ok(client) => Ok(Self { settings, client }),
            Err(error) => Err(Error::new(ErrorKind::Other, "the HTTP client cannot be set up").with_source(error)),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL of a proxy may contain a password, so it is not shown.
        let Self { connect, read, total, idle, most_idle, proxy, .. } = self;
        f.debug_struct("Settings")
            .field("connect", connect)
            .field("read", read)
            .field("total", total)
            .field("idle", idle)
            .field("most_idle", most_idle)
            .field("proxy", &proxy.is_some())
            .finish_non_exhaustive()
    }
}

impl Service<Request<Bytes>> for Reqwest {
    type Response = Response<ReqwestBody>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ReqwestBody>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let client = self.client.clone();
        Box::pin(async move {
            runtime::require("the HTTP client")?;
            let request = request.try_into().map_err(adopt)?;
            let response = client.execute(request).await.map_err(adopt)?;
            Ok(Response::<reqwest::Body>::from(response).map(|body| ReqwestBody(Box::pin(body))))
        })
    }
}

/// Body of a response, read as it arrives.
pub struct ReqwestBody(Pin<Box<reqwest::Body>>);

impl Body for ReqwestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.0.as_mut().poll_frame(cx).map_err(adopt)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl fmt::Debug for ReqwestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReqwestBody")
    }
}

fn adopt(error: reqwest::Error) -> Error {
    // The URL is removed, because the user's base URL may contain secrets.
    let error = error.without_url();
    let (kind, charge, message) = if error.is_builder() {
        (ErrorKind::InvalidRequest, Charge::None, "the HTTP request cannot be built".to_owned())
    } else if error.is_connect() && error.is_timeout() {
        let message = "the vendor cannot be reached: the connection took too long (see connect_timeout)";
        (ErrorKind::Timeout, Charge::None, message.to_owned())
    } else if error.is_connect() {
        (ErrorKind::Transport, Charge::None, with_cause("the vendor cannot be reached", &error))
    } else if error.is_timeout() {
        (ErrorKind::Timeout, Charge::Unknown, "the vendor did not answer in time".to_owned())
    } else {
        (ErrorKind::Transport, Charge::Unknown, with_cause("the connection to the vendor failed", &error))
    };
    Error::new(kind, message).with_charge(charge).with_source(error)
}
