//! Implementation of [`Protocol`] for Gemini's format.

use super::request::{as_openai, field};
use super::{embeddings, error, stream, unary};
use crate::flavor::Format;
use crate::plan::Frame;
use crate::protocol::{CanonicalRequest, Endpoint, HeaderContext, Protocol, Target, Thinking, header, query};
use crate::refusal::Refusal;
use crate::response::{ChatResponse, EmbeddingResponse, Timeline};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use serde_json::{Value, json};
use std::time::SystemTime;

/// Protocol of Gemini's format.
#[derive(Debug)]
pub(crate) struct Gemini;

/// Paths of the versions of the API.
const VERSIONS: [&str; 2] = ["/v1beta/", "/v1/"];

/// Splits a path below the version into the directory of a model, which is empty if there is none, and the last
/// segment. Returns `None` if the vendor does not serve the directory.
fn place(path: &str) -> Option<(&str, &str)> {
    let below = VERSIONS.iter().find_map(|version| path.strip_prefix(version))?;
    let (directory, last) = below.rsplit_once('/').unwrap_or(("", below));
    // Vertex AI serves its models below a project.
    let vertex = directory.starts_with("projects/") && directory.ends_with("/publishers/google/models");
    (vertex || ["", "models", "tunedModels"].contains(&directory)).then_some((directory, last))
}

impl Protocol for Gemini {
    fn format(&self) -> Format {
        Format::Gemini
    }

    fn route(&self, method: &Method, uri: &Uri) -> Result<Target, Refusal> {
        let unknown = || Refusal::unknown_path(uri.path());
        let (directory, last) = place(uri.path()).ok_or_else(unknown)?;
        let wrong = |wanted: Method| if *method == wanted { Ok(()) } else { Err(Refusal::wrong_method()) };
        let Some((model, verb)) = last.split_once(':') else {
            wrong(Method::GET)?;
            let found = directory.is_empty() && last == "models";
            return found.then(|| Target::new(Endpoint::Models)).ok_or_else(unknown);
        };
        if directory.is_empty() {
            return Err(unknown());
        }
        wrong(Method::POST)?;
        let events = query(uri, "alt") == Some("sse");
        let (endpoint, stream, bare) = match verb {
            "generateContent" => (Endpoint::Chat, false, false),
            "streamGenerateContent" => (Endpoint::Chat, true, !events),
            "countTokens" => (Endpoint::Count, false, false),
            "embedContent" => (Endpoint::Embeddings, false, true),
            "batchEmbedContents" => (Endpoint::Embeddings, false, false),
            _ => return Err(unknown()),
        };
        Ok(Target { endpoint, model: Some(model.into()), stream: Some(stream), bare })
    }

    fn key(&self, request: &Request<Bytes>) -> Option<String> {
        let in_url = || query(request.uri(), "key").filter(|key| !key.is_empty()).map(str::to_owned);
        header(request.headers(), "x-goog-api-key").or_else(in_url)
    }

    fn canonical(&self, target: &Target, body: Value) -> Result<CanonicalRequest, Refusal> {
        let model = target.model.as_deref().unwrap_or_default();
        if target.endpoint == Endpoint::Embeddings {
            let body = embeddings::as_openai(model, target.bare, &body)?;
            return Ok(CanonicalRequest { body, thinking: Thinking::Never, breakpoints: [0; 2] });
        }
        let inner = field(&body, "generateContentRequest");
        let body = if inner.is_object() { inner } else { &body };
        let asked = field(field(body, "generationConfig"), "thinkingConfig");
        let thinking = match () {
            () if field(asked, "includeThoughts") == true => Thinking::Asked { shown: true },
            () if field(asked, "thinkingBudget") == 0 => Thinking::Never,
            () => Thinking::AsSet,
        };
        Ok(CanonicalRequest { body: as_openai(model, body), thinking, breakpoints: [0; 2] })
    }

    fn response_id(&self, number: &str) -> String {
        number.into()
    }

    fn unary(&self, response: &ChatResponse, usage: bool) -> Value {
        unary::whole(response, usage)
    }

    fn events(&self, response: &ChatResponse, timeline: &Timeline<'_>, usage: bool) -> Vec<Frame> {
        stream::events(response, timeline, usage)
    }

    fn huge_event(&self, response: &ChatResponse, length: usize) -> Bytes {
        stream::huge(response, length)
    }

    fn embeddings(&self, embed: &EmbeddingResponse, usage: bool) -> Value {
        embeddings::vectors(embed, usage)
    }

    fn count(&self, tokens: u64) -> Value {
        json!({"totalTokens": tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]})
    }

    fn models(&self, names: &[&str]) -> Value {
        let methods = ["generateContent", "countTokens", "embedContent", "batchEmbedContents"];
        let row = |id: &&str| {
            json!({"name": format!("models/{id}"), "version": "1", "displayName": id, "inputTokenLimit": 1_048_576,
                "outputTokenLimit": 65_536, "supportedGenerationMethods": methods})
        };
        json!({"models": names.iter().map(row).collect::<Vec<_>>()})
    }

    fn refuse(&self, refusal: &Refusal, _: &str) -> (StatusCode, Value) {
        error::refuse(refusal)
    }

    fn error_event(&self, error: &Value, response: &ChatResponse, before: usize) -> Bytes {
        stream::last(error, response.bare, before)
    }

    fn content_type(&self, stream: bool, bare: bool) -> &'static str {
        if stream && !bare { "text/event-stream" } else { "application/json; charset=UTF-8" }
    }

    fn headers(&self, _: &mut HeaderMap, _: &HeaderContext<'_>) {
        // NOTE: Gemini has no headers for limits or a request id. The body of a response contains its id.
    }

    fn refusal_headers(&self, _: &mut HeaderMap, _: &Refusal, _: SystemTime) {}
}
