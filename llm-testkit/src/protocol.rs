//! Interface of the wire formats.

use crate::anthropic::Anthropic;
use crate::flavor::{Flavor, Format};
use crate::gemini::Gemini;
use crate::limits::RateLimits;
use crate::openai;
use crate::plan::Frame;
use crate::refusal::Refusal;
use crate::response::{ChatResponse, EmbeddingResponse, Timeline};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// Endpoint of a vendor, in any format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Count,
    Embeddings,
    Models,
}

/// Endpoint and parameters that a path states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    /// Model, if the path names it.
    pub(crate) model: Option<String>,
    /// True if the path requests a stream; `None` if the body of the request decides.
    pub(crate) stream: Option<bool>,
    /// True for a Gemini stream that is one array, and for a Gemini embedding outside of a list.
    pub(crate) bare: bool,
}

impl Target {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, model: None, stream: None, bare: false }
    }
}

/// Request in OpenAI's form, which determines the response, with the details that this form lacks.
#[derive(Debug)]
pub(crate) struct CanonicalRequest {
    pub(crate) body: Value,
    pub(crate) thinking: Thinking,
    /// Numbers of cache breakpoints in the prompt for five minutes and for an hour.
    pub(crate) breakpoints: [u64; 2],
}

/// Reasoning that precedes a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thinking {
    Never,
    /// Reasoning according to the vendor's settings.
    AsSet,
    /// Reasoning that the request asks for; `shown` if the response must contain it.
    Asked {
        shown: bool,
    },
}

/// Values from which the headers of a response are made.
pub(crate) struct HeaderContext<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) taken: Duration,
    pub(crate) limits: Option<&'a RateLimits>,
    /// Number of tokens of the prompt; 0 for a request without a prompt.
    pub(crate) input: u64,
    pub(crate) wall: SystemTime,
}

/// Wire format: decoding of its requests, and encoding of its responses.
pub(crate) trait Protocol: Sync {
    fn format(&self) -> Format;
    fn route(&self, method: &Method, uri: &Uri) -> Result<Target, Refusal>;
    /// Returns the key of a call; `None` if a necessary key is missing, and an empty text if the format needs no key.
    fn key(&self, request: &Request<Bytes>) -> Option<String>;
    /// Returns a refusal if the headers of a request are wrong.
    fn admit(&self, _: &HeaderMap) -> Result<(), Refusal> {
        Ok(())
    }
    /// Returns the refusal for filtered content; `None` if the format has a response for filtered content.
    fn filtered(&self) -> Option<Refusal> {
        None
    }
    fn canonical(&self, target: &Target, body: Value) -> Result<CanonicalRequest, Refusal>;
    /// Returns the id in the body of a response, which is made from the `number`.
    fn response_id(&self, number: &str) -> String;
    fn unary(&self, response: &ChatResponse, usage: bool) -> Value;
    fn events(&self, response: &ChatResponse, timeline: &Timeline<'_>, usage: bool) -> Vec<Frame>;
    /// Returns an event with `length` bytes of text, to be inserted after the opening events of a stream.
    fn huge_event(&self, response: &ChatResponse, length: usize) -> Bytes;
    fn embeddings(&self, embed: &EmbeddingResponse, usage: bool) -> Value;
    fn count(&self, tokens: u64) -> Value;
    fn models(&self, names: &[&str]) -> Value;
    fn refuse(&self, refusal: &Refusal, request_id: &str) -> (StatusCode, Value);
    /// Returns an event with an error that ends a stream after `before` events.
    fn error_event(&self, error: &Value, response: &ChatResponse, before: usize) -> Bytes;
    fn content_type(&self, stream: bool, bare: bool) -> &'static str;
    fn headers(&self, headers: &mut HeaderMap, context: &HeaderContext<'_>);
    /// Writes the header with the time until a retry, or the header that states that a retry is useless.
    fn refusal_headers(&self, headers: &mut HeaderMap, refusal: &Refusal, wall: SystemTime);
}

/// Returns the protocol of a request, by its path, and by its headers if formats share the path.
pub(crate) fn of<B>(request: &Request<B>, flavor: Flavor) -> &'static dyn Protocol {
    let path = request.uri().path().trim_end_matches('/');
    let last = path.rsplit('/').next().unwrap_or_default();
    if path.ends_with("/messages") || path.ends_with("/messages/count_tokens") {
        return &Anthropic;
    }
    if last.contains(':') {
        return &Gemini;
    }
    if path.ends_with("/chat/completions") || last == "embeddings" {
        return openai::of(flavor);
    }
    let headers = request.headers();
    if headers.contains_key("anthropic-version") || headers.contains_key("x-api-key") {
        return &Anthropic;
    }
    if headers.contains_key("x-goog-api-key") || query(request.uri(), "key").is_some() {
        return &Gemini;
    }
    openai::of(flavor)
}

/// Returns the value of a parameter in the query of a URI, as it is encoded there.
pub(crate) fn query<'u>(uri: &'u Uri, name: &str) -> Option<&'u str> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Returns the value of a header, unless it is empty or not text.
pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Returns the bearer token of a call, if it has one.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}
