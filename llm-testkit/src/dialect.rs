//! What every wire format has to be able to do.

use crate::answer::{Answer, Embed, Pace};
use crate::anthropic::Anthropic;
use crate::flavor::{Flavor, Format};
use crate::gemini::Gemini;
use crate::limits::RateLimits;
use crate::openai;
use crate::plan::Frame;
use crate::refusal::Refusal;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// What a vendor serves, in whichever format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Count,
    Embeddings,
    Models,
}

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    /// The model, where the path names it.
    pub(crate) model: Option<String>,
    /// Whether a stream is asked for, where the path says it.
    pub(crate) stream: Option<bool>,
    /// How Gemini differs: its stream is one array, or its embedding is not one of a list.
    pub(crate) bare: bool,
}

impl Target {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, model: None, stream: None, bare: false }
    }
}

/// A request in OpenAI's form, which is the one that answers follow from, and what that form cannot say.
#[derive(Debug)]
pub(crate) struct Inquiry {
    pub(crate) body: Value,
    pub(crate) thinking: Thinking,
    /// How many places of the prompt ask to be cached for five minutes, and for an hour.
    pub(crate) breakpoints: [u64; 2],
}

/// Whether an answer is thought about first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thinking {
    Never,
    /// As the vendor's settings say.
    AsSet,
    /// The request wants it; `shown` if it wants to read it, too.
    Asked {
        shown: bool,
    },
}

/// What headers are made of.
pub(crate) struct Facts<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) taken: Duration,
    pub(crate) limits: Option<&'a RateLimits>,
    /// Tokens of the prompt, where there is one.
    pub(crate) input: u64,
    pub(crate) wall: SystemTime,
}

/// One format: how its requests are read, and its answers written.
pub(crate) trait Dialect: Sync {
    fn format(&self) -> Format;
    fn route(&self, method: &Method, uri: &Uri) -> Result<Target, Refusal>;
    /// The key that a call is made with; empty if it needs none.
    fn key(&self, request: &Request<Bytes>) -> Option<String>;
    /// Refuses requests for what their headers are.
    fn admit(&self, _: &HeaderMap) -> Result<(), Refusal> {
        Ok(())
    }
    /// The refusal of what must not be said, where the format has no answer for it.
    fn filtered(&self) -> Option<Refusal> {
        None
    }
    fn inquiry(&self, target: &Target, body: Value) -> Result<Inquiry, Refusal>;
    /// How an answer names itself in its body.
    fn response_id(&self, number: &str) -> String;
    fn unary(&self, answer: &Answer, usage: bool) -> Value;
    fn events(&self, answer: &Answer, pace: &Pace<'_>, usage: bool) -> Vec<Frame>;
    /// An event with `length` bytes of text in it, to be the second one or later.
    fn huge_event(&self, answer: &Answer, length: usize) -> Bytes;
    fn embeddings(&self, embed: &Embed, usage: bool) -> Value;
    fn count(&self, tokens: u64) -> Value;
    fn models(&self, names: &[&str]) -> Value;
    fn refuse(&self, refusal: &Refusal, request_id: &str) -> (StatusCode, Value);
    /// An error in the middle of a stream, after `before` events.
    fn error_event(&self, error: &Value, answer: &Answer, before: usize) -> Bytes;
    fn content_type(&self, stream: bool, bare: bool) -> &'static str;
    fn headers(&self, headers: &mut HeaderMap, facts: &Facts<'_>);
    /// Says when to come back, or that there is no use in it.
    fn refusal_headers(&self, headers: &mut HeaderMap, refusal: &Refusal, wall: SystemTime);
}

/// The format that a request speaks.
pub(crate) fn of<B>(request: &Request<B>, flavor: Flavor) -> &'static dyn Dialect {
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

/// A parameter of the query.
pub(crate) fn query<'u>(uri: &'u Uri, name: &str) -> Option<&'u str> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The value of a header, if it has a text that is not empty.
pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The bearer token of a call, if it has one.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}
