use std::{
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

/// HTTP/1.1 by the crate `reqwest`, with connections kept for reuse.
///
/// It follows no redirect, retries nothing, reads no proxy from the environment, and its errors hold no URL. Time-outs:
///
/// | | default | |
/// |---|---|---|
/// | connect | 10 s | name look-up, TCP and TLS together; nothing was sent, so it costs nothing |
/// | read | 300 s | between two pieces of an answer, and before the first: a model that thinks long and answers whole sends nothing meanwhile |
/// | total | none | would cut long answers off; a call's own deadline is the better bound |
///
/// Always ready; clones share their connections.
#[derive(Clone, Debug)]
pub struct Reqwest {
    settings: Settings,
    client: reqwest::Client,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    connect: Duration,
    read: Duration,
    total: Option<Duration>,
}

impl Reqwest {
    /// A transport with the default time-outs.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Other`] if TLS cannot be set up on this machine.
    pub fn new() -> Result<Self, Error> {
        Self::build(Settings { connect: Duration::from_secs(10), read: Duration::from_secs(300), total: None })
    }

    /// Sets how long a connection may take to come about.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn connect_timeout(self, connect: Duration) -> Result<Self, Error> {
        Self::build(Settings { connect, ..self.settings })
    }

    /// Sets how long to wait for each next piece of an answer.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn read_timeout(self, read: Duration) -> Result<Self, Error> {
        Self::build(Settings { read, ..self.settings })
    }

    /// Sets how long a whole call may take, from the connection to the answer's last byte.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn total_timeout(self, total: Duration) -> Result<Self, Error> {
        Self::build(Settings { total: Some(total), ..self.settings })
    }

    fn build(settings: Settings) -> Result<Self, Error> {
        let Settings { connect, read, total } = settings;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect)
            .read_timeout(read)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .tcp_nodelay(true);
        if let Some(total) = total {
            builder = builder.timeout(total);
        }
        match builder.build() {
            Ok(client) => Ok(Self { settings, client }),
            Err(error) => Err(Error::new(ErrorKind::Other, "the HTTP client cannot be set up").with_source(error)),
        }
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
            let request = request.try_into().map_err(adopt)?;
            let answer = client.execute(request).await.map_err(adopt)?;
            Ok(Response::<reqwest::Body>::from(answer).map(|body| ReqwestBody(Box::pin(body))))
        })
    }
}

/// The body of an answer, as it arrives.
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

impl std::fmt::Debug for ReqwestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReqwestBody")
    }
}

fn adopt(error: reqwest::Error) -> Error {
    // URLs may hold secrets: the base URL is the user's.
    let error = error.without_url();
    let (kind, charge, message) = if error.is_builder() {
        (ErrorKind::InvalidRequest, Charge::None, "the HTTP request cannot be built")
    } else if error.is_connect() {
        let kind = if error.is_timeout() { ErrorKind::Timeout } else { ErrorKind::Transport };
        (kind, Charge::None, "the vendor cannot be reached")
    } else if error.is_timeout() {
        (ErrorKind::Timeout, Charge::Unknown, "the vendor did not answer in time")
    } else {
        (ErrorKind::Transport, Charge::Unknown, "the connection to the vendor failed")
    };
    Error::new(kind, message).with_charge(charge).with_source(error)
}
