use std::{
    sync::Arc,
    task::{Context, Poll},
};

use ::async_openai::{error::OpenAIError, middleware::HttpRequestFactory};
use bytes::Bytes;
use http::{HeaderName, Method};
use llm_core::{Call, Error, Provider, Tenant};
use reqwest::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::{ProviderLayer, ResponseFuture, error, readable::CLIENT, request};
use crate::openai::serve::{EventStream, response};

/// Service for `Client::with_http_service` that answers requests with a provider.
///
/// Always ready. It sends requests for other operations to a clone of the service below, once that clone is ready.
#[derive(Clone, Debug)]
pub struct ProviderService<S> {
    pub(super) layer: ProviderLayer,
    pub(super) inner: S,
}

impl<S> Layer<S> for ProviderLayer {
    type Service = ProviderService<S>;

    fn layer(&self, inner: S) -> ProviderService<S> {
        ProviderService { layer: self.clone(), inner }
    }
}

/// Operation that the provider serves, by the end of a request's path.
#[derive(Clone, Copy)]
enum Path {
    Chat,
    Embeddings,
}

impl Path {
    fn of(request: &Request) -> Option<Self> {
        let path = request.url().path();
        match *request.method() {
            Method::POST if path.ends_with("/chat/completions") => Some(Self::Chat),
            Method::POST if path.ends_with("/embeddings") => Some(Self::Embeddings),
            _ => None,
        }
    }
}

impl<S> Service<HttpRequestFactory> for ProviderService<S>
where
    S: Service<HttpRequestFactory, Response = Response> + Clone + Send + 'static,
    S::Error: Into<OpenAIError>,
    S::Future: Send,
{
    type Response = Response;
    type Error = OpenAIError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OpenAIError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, factory: HttpRequestFactory) -> ResponseFuture {
        let Self { layer, mut inner } = self.clone();
        ResponseFuture::new(async move {
            let request = factory.build().await?;
            let Some(path) = Path::of(&request) else {
                std::future::poll_fn(|cx| inner.poll_ready(cx)).await.map_err(Into::into)?;
                return inner.call(factory).await.map_err(Into::into);
            };
            let ProviderLayer { provider, tenant, tenant_header } = layer;
            let tenant = tenant_header.and_then(|name| tenant_of(&request, &name)).unwrap_or(tenant);
            let response = match request.body().and_then(reqwest::Body::as_bytes) {
                Some(body) => respond(path, body, tenant, &provider).await,
                None => Err(Error::invalid("the request has no body in one piece")),
            };
            Ok(response.unwrap_or_else(|error| error::response(&error)))
        })
    }
}

async fn respond(path: Path, body: &[u8], tenant: Tenant, provider: &Arc<dyn Provider>) -> Result<Response, Error> {
    match path {
        Path::Chat => {
            let chat = request::chat(body)?;
            let call = Call::new(tenant, chat.request);
            if chat.streamed {
                let reply = provider.chat_stream(call).await?;
                let events = EventStream::with_audience(reply.output, CLIENT).include_usage(chat.usage);
                return Ok(whole("text/event-stream", reqwest::Body::wrap_stream(events)));
            }
            let reply = provider.chat(call).await?;
            json(response::chat(&reply.output, reply.receipt.usage(), CLIENT)?)
        }
        Path::Embeddings => {
            let (embed, base64) = request::embed(body)?;
            let reply = provider.embed(Call::new(tenant, embed)).await?;
            json(response::embeddings(&reply.output, reply.receipt.usage(), base64))
        }
    }
}

fn tenant_of(request: &Request, name: &HeaderName) -> Option<Tenant> {
    let text = request.headers().get(name)?.to_str().ok()?;
    (!text.is_empty()).then(|| Tenant::from(text))
}

fn json(value: serde_json::Value) -> Result<Response, Error> {
    Ok(whole("application/json", Bytes::from(value.to_string()).into()))
}

fn whole(kind: &'static str, body: reqwest::Body) -> Response {
    let mut response = http::Response::new(body);
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response.into()
}
