//! HTTP responses in OpenAI's form, for a service of your own: complete replies, streamed replies, and errors.
//!
//! The status and the headers are those of [`llm_core::http`]. A handler of any web framework that uses the crate
//! `http` can return them directly:
//!
//! ```
//! use std::sync::Arc;
//!
//! use llm_core::{Call, ChatRequest, Provider};
//! use llm_providers::openai::serve;
//!
//! /// A handler: with axum, `State(provider): State<Arc<dyn Provider>>` is its first argument.
//! async fn ask(provider: Arc<dyn Provider>, body: String) -> http::Response<serve::Body> {
//!     let call = Call::new("acme", ChatRequest::new("gpt-4o-mini").user(body));
//!     serve::chat_stream(provider.chat_stream(call).await)
//! }
//! ```
//!
//! Messages about the vendor, the keys and the accounts are for the operator. Clients get messages about their request
//! and their limits. Of any other failure, clients get only the kind. A part that the format cannot express, such as an
//! image, is an error.

pub(crate) mod audience;
mod body;
mod chunk;
pub(crate) mod error;
mod events;
pub(crate) mod response;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use llm_core::{ChatResponse, Embeddings, Error, Reply, http as core_http};
use serde_json::Value;

use self::audience::Audience;
pub use self::body::Body;
pub use self::events::EventStream;

/// Returns the HTTP response for a complete reply or its error.
///
/// ```
/// use llm_core::{ChatResponse, Choice, Error, FinishReason, Part, Receipt, Reply};
/// use llm_providers::openai::serve;
///
/// let choice = Choice::new(0, vec![Part::text("yes")], FinishReason::Stop);
/// let reply = Reply::new(ChatResponse::new("1", "m", vec![choice]), Receipt::default());
/// assert_eq!(serve::chat(Ok(reply)).headers()["content-type"], "application/json");
/// assert_eq!(serve::chat(Err(Error::invalid("no messages"))).status(), 400);
/// ```
pub fn chat(result: Result<Reply<ChatResponse>, Error>) -> Response<Body> {
    let encoded = result.and_then(|reply| {
        let body = response::chat(&reply.output, reply.receipt.usage(), Audience::CLIENTS)?;
        Ok((core_http::reply_headers(&reply), body))
    });
    encoded.map_or_else(|failed| error(&failed), |(headers, body)| json(StatusCode::OK, headers, &body))
}

/// Returns the HTTP response for a streamed reply, as server-sent events, or for its error. To set options, pass an
/// [`EventStream`] in place of the [`ChatStream`](llm_core::ChatStream).
///
/// ```
/// use llm_core::{ChatStream, Error, ErrorKind, Receipt, Reply};
/// use llm_providers::openai::serve::{self, EventStream};
///
/// let reply = Reply::new(ChatStream::new(futures_util::stream::empty()), Receipt::default());
/// let response = serve::chat_stream(Ok(reply.map(|stream| EventStream::new(stream).include_usage(true))));
/// assert_eq!(response.headers()["content-type"], "text/event-stream");
/// let refused = Err::<Reply<ChatStream>, _>(Error::new(ErrorKind::OverBudget, "$3/day is used up"));
/// assert_eq!(serve::chat_stream(refused).status(), 429);
/// ```
pub fn chat_stream(result: Result<Reply<impl Into<EventStream>>, Error>) -> Response<Body> {
    match result {
        Ok(reply) => {
            let mut headers = core_http::reply_headers(&reply);
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response(StatusCode::OK, headers, "text/event-stream", Body::events(reply.output.into()))
        }
        Err(failed) => error(&failed),
    }
}

/// Returns the HTTP response for a reply with embeddings, whose vectors are written as numbers, or for its error.
///
/// ```
/// use llm_core::{Embeddings, Receipt, Reply};
/// use llm_providers::openai::serve;
///
/// let reply = Reply::new(Embeddings::new("m", vec![[0.6, 0.8].into()]), Receipt::default());
/// assert_eq!(serve::embed(Ok(reply)).status(), 200);
/// ```
pub fn embed(result: Result<Reply<Embeddings>, Error>) -> Response<Body> {
    match result {
        Ok(reply) => {
            let body = response::embeddings(&reply.output, reply.receipt.usage(), false);
            json(StatusCode::OK, core_http::reply_headers(&reply), &body)
        }
        Err(failed) => error(&failed),
    }
}

/// Returns the HTTP response for an error: status, headers, and `{"error": {"message", "type", "param", "code"}}`.
///
/// ```
/// use std::time::Duration;
/// use llm_core::{Error, ErrorKind};
/// use llm_providers::openai::serve;
///
/// let error = Error::new(ErrorKind::RateLimited, "10/minute is used up").with_retry_after(Duration::from_secs(6));
/// let response = serve::error(&error);
/// assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &"6".parse()?));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn error(error: &Error) -> Response<Body> {
    json(core_http::status(error), core_http::error_headers(error), &error::body(error, Audience::CLIENTS))
}

fn json(status: StatusCode, headers: HeaderMap, body: &Value) -> Response<Body> {
    response(status, headers, "application/json", Body::whole(Bytes::from(body.to_string())))
}

fn response(status: StatusCode, mut headers: HeaderMap, content: &'static str, body: Body) -> Response<Body> {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
