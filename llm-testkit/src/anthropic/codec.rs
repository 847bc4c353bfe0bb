//! Implementation of [`Protocol`] for Anthropic's format.

use super::request::{as_openai, breakpoints};
use super::{error, unary};
use crate::flavor::Format;
use crate::limits::Window;
use crate::openai::{insert, retry_headers, value};
use crate::plan::Frame;
use crate::protocol::{CanonicalRequest, Endpoint, HeaderContext, Protocol, Target, Thinking, bearer, header};
use crate::refusal::{Cause, Refusal};
use crate::response::{ChatResponse, EmbeddingResponse, Timeline};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use serde_json::{Value, json};
use std::time::SystemTime;

/// Smallest budget of thinking tokens that a request may set.
const LEAST_BUDGET: u64 = 1_024;

/// Protocol of Anthropic's format.
#[derive(Debug)]
pub(crate) struct Anthropic;

impl Protocol for Anthropic {
    fn format(&self) -> Format {
        Format::Anthropic
    }

    fn route(&self, method: &Method, uri: &Uri) -> Result<Target, Refusal> {
        let path = uri.path();
        let served = [
            ("/v1/messages", Endpoint::Chat, Method::POST),
            ("/v1/messages/count_tokens", Endpoint::Count, Method::POST),
            ("/v1/models", Endpoint::Models, Method::GET),
        ];
        match served.into_iter().find(|(served, ..)| path == *served) {
            Some((_, endpoint, wanted)) if wanted == *method => Ok(Target::new(endpoint)),
            Some(_) => Err(Refusal::wrong_method()),
            None => Err(Refusal::unknown_path(path)),
        }
    }

    fn key(&self, request: &Request<Bytes>) -> Option<String> {
        header(request.headers(), "x-api-key").or_else(|| bearer(request.headers()))
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match header(headers, "anthropic-version") {
            Some(_) => Ok(()),
            None => Err(Refusal::invalid("anthropic-version", "header is required")),
        }
    }

    fn canonical(&self, target: &Target, body: Value) -> Result<CanonicalRequest, Refusal> {
        if target.endpoint == Endpoint::Chat && !body["max_tokens"].is_u64() {
            return Err(Refusal::missing("max_tokens"));
        }
        let thinking = thinking(&body)?;
        Ok(CanonicalRequest { thinking, breakpoints: breakpoints(&body), body: as_openai(&body) })
    }

    fn response_id(&self, number: &str) -> String {
        format!("msg_{number}")
    }

    fn unary(&self, response: &ChatResponse, usage: bool) -> Value {
        unary::message(response, usage)
    }

    fn events(&self, response: &ChatResponse, timeline: &Timeline<'_>, usage: bool) -> Vec<Frame> {
        super::stream::events(response, timeline, usage)
    }

    fn huge_event(&self, response: &ChatResponse, length: usize) -> Bytes {
        super::stream::huge(response, length)
    }

    fn embeddings(&self, _: &EmbeddingResponse, _: bool) -> Value {
        // NOTE: no path of this format has this endpoint.
        Value::Null
    }

    fn count(&self, tokens: u64) -> Value {
        json!({"input_tokens": tokens})
    }

    fn models(&self, names: &[&str]) -> Value {
        let row =
            |id: &&str| json!({"type": "model", "id": id, "display_name": id, "created_at": "2025-11-21T00:00:00Z"});
        json!({"data": names.iter().map(row).collect::<Vec<_>>(), "has_more": false,
            "first_id": names.first(), "last_id": names.last()})
    }

    fn refuse(&self, refusal: &Refusal, request_id: &str) -> (StatusCode, Value) {
        error::refuse(refusal, request_id)
    }

    fn error_event(&self, error: &Value, _: &ChatResponse, _: usize) -> Bytes {
        let mut error = error.clone();
        error.as_object_mut().and_then(|fields| fields.remove("request_id"));
        super::stream::event(&error)
    }

    fn content_type(&self, stream: bool, _: bool) -> &'static str {
        if stream { "text/event-stream; charset=utf-8" } else { "application/json" }
    }

    fn headers(&self, headers: &mut HeaderMap, context: &HeaderContext<'_>) {
        headers.insert(HeaderName::from_static("request-id"), value(context.request_id));
        let Some(limits) = context.limits else { return };
        let rounded =
            |window: Window| Window { remaining: window.remaining.saturating_add(500) / 1_000 * 1_000, ..window };
        for (kind, window) in [
            ("requests", limits.requests),
            ("tokens", rounded(limits.tokens)),
            ("input-tokens", rounded(limits.input_tokens)),
            ("output-tokens", rounded(limits.output_tokens)),
        ] {
            insert(headers, format!("anthropic-ratelimit-{kind}-limit"), window.limit);
            insert(headers, format!("anthropic-ratelimit-{kind}-remaining"), window.remaining);
            insert(headers, format!("anthropic-ratelimit-{kind}-reset"), rfc3339(context.wall + window.reset));
        }
    }

    fn refusal_headers(&self, headers: &mut HeaderMap, refusal: &Refusal, wall: SystemTime) {
        if let Cause::Limited { retry_after, form, .. } = &refusal.cause {
            retry_headers(headers, *retry_after, *form, wall);
        }
        let again = if refusal.is_passing() { "true" } else { "false" };
        headers.insert(HeaderName::from_static("x-should-retry"), HeaderValue::from_static(again));
    }
}

fn thinking(body: &Value) -> Result<Thinking, Refusal> {
    let asked = &body["thinking"];
    let shown = asked["display"] != "omitted";
    match asked["type"].as_str() {
        Some("enabled") => {
            let most = body["max_tokens"].as_u64().unwrap_or(u64::MAX);
            let budget = asked["budget_tokens"].as_u64().unwrap_or_default();
            if budget < LEAST_BUDGET || budget >= most {
                let message = format!("has to be at least {LEAST_BUDGET} and less than 'max_tokens'");
                return Err(Refusal::invalid("thinking.budget_tokens", message));
            }
            Ok(Thinking::Asked { shown })
        }
        Some("adaptive") => Ok(Thinking::Asked { shown }),
        _ => Ok(Thinking::Never),
    }
}

/// Returns a time to the second, rounded up: `2026-08-19T14:34:53Z`.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() + u64::from(since.subsec_nanos() > 0);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Returns year, month and day for a number of days since 1970. The computation uses eras of 400 years that begin in
/// March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, of_year - (153 * march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn anthropic_instants_round_up_to_seconds() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_251_199_001, "2024-03-01T00:00:00Z"),
            (1_787_150_093_000, "2026-08-19T14:34:53Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(SystemTime::UNIX_EPOCH + Duration::from_millis(millis)), text);
        }
    }
}
