//! Transports: the services that send requests to a vendor.

mod cause;
#[cfg(feature = "reqwest")]
mod reqwest;

use std::future::{Future, poll_fn};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use llm_core::BoxError;
use tower_service::Service;

pub(crate) use self::cause::with_cause;
#[cfg(feature = "reqwest")]
pub use self::reqwest::{Reqwest, ReqwestBody};

/// A tower service that sends an HTTP request and streams the response's body.
///
/// Every `Service<http::Request<Bytes>, Response = http::Response<B>>` with `B: http_body::Body<Data = Bytes>` that is
/// `Clone + Send + Sync` implements this trait. An [`llm_core::Error`] keeps its kind and charge; after any other error
/// it is unknown if the request was sent. A transport must not follow redirects, because they would send the key to
/// another server.
pub trait Transport: Clone + Send + Sync + 'static {
    /// Body of the response.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;

    /// Waits until the transport can send a request.
    fn ready(&mut self) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Sends a request, after [`ready`](Self::ready).
    fn send(
        &mut self,
        request: Request<Bytes>,
    ) -> impl Future<Output = Result<Response<Self::Body>, BoxError>> + Send + 'static;
}

impl<S, B> Transport for S
where
    S: Service<Request<Bytes>, Response = Response<B>, Error: Into<BoxError>, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;

    async fn ready(&mut self) -> Result<(), BoxError> {
        poll_fn(|cx| self.poll_ready(cx)).await.map_err(Into::into)
    }

    fn send(
        &mut self,
        request: Request<Bytes>,
    ) -> impl Future<Output = Result<Response<B>, BoxError>> + Send + 'static {
        let response = self.call(request);
        async move { response.await.map_err(Into::into) }
    }
}
