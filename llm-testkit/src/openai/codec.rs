//! Implementation of [`Protocol`] for OpenAI's format.

use super::dialect::{Dialect, LimitHeaders, dialect};
use super::error;
use super::headers::{limit_headers, minute_headers, retry_headers, value};
use crate::flavor::{Flavor, Format};
use crate::plan::Frame;
use crate::protocol::{CanonicalRequest, Endpoint, HeaderContext, Protocol, Target, Thinking, bearer, header};
use crate::refusal::{Cause, Refusal};
use crate::response::{ChatResponse, EmbeddingResponse, Timeline};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use serde_json::{Value, json};
use std::time::SystemTime;

/// Endpoints below the path of the API, with their methods.
const SERVED: [(&str, Endpoint, Method); 3] = [
    ("chat/completions", Endpoint::Chat, Method::POST),
    ("embeddings", Endpoint::Embeddings, Method::POST),
    ("models", Endpoint::Models, Method::GET),
];

/// Protocol of OpenAI's format in the dialect of one vendor.
#[derive(Debug)]
pub(crate) struct OpenAi(pub(super) Dialect);

/// Returns the protocol of a flavor.
pub(crate) fn of(flavor: Flavor) -> &'static OpenAi {
    static TABLE: [OpenAi; 8] = [
        OpenAi(dialect(Flavor::OpenAi)),
        OpenAi(dialect(Flavor::Azure)),
        OpenAi(dialect(Flavor::Mistral)),
        OpenAi(dialect(Flavor::DeepSeek)),
        OpenAi(dialect(Flavor::Groq)),
        OpenAi(dialect(Flavor::OpenRouter)),
        OpenAi(dialect(Flavor::Ollama)),
        OpenAi(dialect(Flavor::Vllm)),
    ];
    TABLE.iter().find(|row| row.0.flavor == flavor).expect("the table has a row for every flavor")
}

impl OpenAi {
    /// Returns the paths below which the API is served.
    pub(crate) fn prefixes(&self) -> &'static [&'static str] {
        self.0.prefixes
    }

    /// Splits a path into the endpoint and Azure's deployment; `None` if it is not below the API.
    fn place<'p>(&self, path: &'p str) -> Option<(&'p str, Option<&'p str>)> {
        if self.0.flavor == Flavor::Azure {
            if let Some(rest) = path.strip_prefix("/openai/deployments/") {
                let (deployment, of) = rest.split_once('/')?;
                return (of != "models").then_some((of, Some(deployment)));
            }
            if path == "/openai/models" {
                return Some(("models", None));
            }
        }
        let mut below = self.0.prefixes.iter().filter_map(|prefix| path.strip_prefix(prefix)?.strip_prefix('/'));
        below.find(|of| SERVED.iter().any(|(served, ..)| served == of)).map(|of| (of, None))
    }
}

impl Protocol for OpenAi {
    fn format(&self) -> Format {
        Format::OpenAi
    }

    fn route(&self, method: &Method, uri: &Uri) -> Result<Target, Refusal> {
        let path = uri.path();
        let (of, deployment) = self.place(path).ok_or_else(|| Refusal::unknown_path(path))?;
        match SERVED.iter().find(|(served, ..)| *served == of) {
            Some((_, endpoint, wanted)) if wanted == method => {
                Ok(Target { model: deployment.map(str::to_owned), ..Target::new(*endpoint) })
            }
            Some(_) => Err(Refusal::wrong_method()),
            None => Err(Refusal::unknown_path(path)),
        }
    }

    fn key(&self, request: &Request<Bytes>) -> Option<String> {
        let own = self.0.key_header.and_then(|name| header(request.headers(), name));
        own.or_else(|| bearer(request.headers())).or_else(|| self.0.keyless.then(String::new))
    }

    fn filtered(&self) -> Option<Refusal> {
        let message = "the prompt was filtered, change it and try again";
        (self.0.flavor == Flavor::Azure)
            .then(|| Refusal { param: Some("prompt".into()), ..Refusal::new(Cause::Filtered, message) })
    }

    fn canonical(&self, target: &Target, mut body: Value) -> Result<CanonicalRequest, Refusal> {
        if let (Some(model), Some(fields)) = (&target.model, body.as_object_mut()) {
            fields.insert("model".into(), json!(model));
        }
        // Mistral's format has `any` in place of `required`.
        if self.0.flavor == Flavor::Mistral && body["tool_choice"] == "any" {
            body["tool_choice"] = json!("required");
        }
        Ok(CanonicalRequest { body, thinking: Thinking::AsSet, breakpoints: [0; 2] })
    }

    fn response_id(&self, number: &str) -> String {
        match self.0.flavor {
            Flavor::Mistral | Flavor::DeepSeek => number.into(),
            Flavor::OpenRouter => format!("gen-{number}"),
            _ => format!("chatcmpl-{number}"),
        }
    }

    fn unary(&self, response: &ChatResponse, usage: bool) -> Value {
        self.completion(response, usage)
    }

    fn events(&self, response: &ChatResponse, timeline: &Timeline<'_>, usage: bool) -> Vec<Frame> {
        self.chunks(response, timeline, usage)
    }

    fn huge_event(&self, response: &ChatResponse, length: usize) -> Bytes {
        self.huge_chunk(response, length)
    }

    fn embeddings(&self, embed: &EmbeddingResponse, usage: bool) -> Value {
        self.vectors(embed, usage)
    }

    fn count(&self, tokens: u64) -> Value {
        json!({"object": "response.input_tokens", "input_tokens": tokens})
    }

    fn models(&self, names: &[&str]) -> Value {
        let row = |id: &&str| json!({"id": id, "object": "model", "created": 0, "owned_by": "llm-testkit"});
        json!({"object": "list", "data": names.iter().map(row).collect::<Vec<_>>()})
    }

    fn refuse(&self, refusal: &Refusal, _: &str) -> (StatusCode, Value) {
        let (status, mut body) = error::refuse(self.0.flavor, refusal);
        self.strip(&mut body);
        (status, body)
    }

    fn error_event(&self, error: &Value, response: &ChatResponse, _: usize) -> Bytes {
        self.error_chunk(error, response)
    }

    fn content_type(&self, stream: bool, _: bool) -> &'static str {
        if stream { "text/event-stream; charset=utf-8" } else { "application/json" }
    }

    fn headers(&self, headers: &mut HeaderMap, context: &HeaderContext<'_>) {
        if let Some(name) = self.0.request_id {
            headers.insert(HeaderName::from_static(name), value(context.request_id));
        }
        match self.0.flavor {
            Flavor::OpenAi => {
                headers.insert(HeaderName::from_static("openai-version"), HeaderValue::from_static("2020-10-01"));
                headers.insert(HeaderName::from_static("openai-processing-ms"), value(context.taken.as_millis()));
            }
            Flavor::Azure => {
                headers.insert(HeaderName::from_static("apim-request-id"), value(context.request_id));
            }
            _ => {}
        }
        let Some(limits) = context.limits else { return };
        match self.0.limits {
            LimitHeaders::Go => limit_headers(headers, limits, false),
            LimitHeaders::Seconds => limit_headers(headers, limits, true),
            LimitHeaders::Minute => minute_headers(headers, limits, context.input),
            LimitHeaders::None => {}
        }
    }

    fn refusal_headers(&self, headers: &mut HeaderMap, refusal: &Refusal, wall: SystemTime) {
        if let Cause::Limited { retry_after, form, .. } = &refusal.cause {
            retry_headers(headers, *retry_after, *form, wall);
        }
    }
}
