//! What a refusal means.

mod kind;
mod told;

use std::time::SystemTime;

use http::{HeaderMap, StatusCode};
use llm_core::{Charge, Error, ErrorKind};
use serde_json::Value;

use self::{kind::Meaning, told::Told};
use crate::wire::{clean, duration, redact, retry_after, wait::should_retry};

/// Makes an error of an HTTP answer that is none: its kind, code, scope of the limit, waiting time, request id, charge.
///
/// | answer | kind | scope |
/// |---|---|---|
/// | `context_length_exceeded` | `ContextTooLong` | |
/// | `content_filter`, `content_policy_violation` | `ContentFiltered` | |
/// | 429 `insufficient_quota` and its like, 402 | `QuotaExhausted` | group, money |
/// | `tool_use_failed` (Groq: the model called a tool wrongly) | `Malformed` | |
/// | 429, 413 of a request larger than the limit itself | `InvalidRequest` | group, request |
/// | 429 of type `requests` or `tokens`, `slow_down` | `RateLimited` | group, minute or day |
/// | any other 429 | `RateLimited` | |
/// | 401 · 403 · 404, 405, 410 | `Authentication` · `PermissionDenied` · `NotFound` | |
/// | 3xx (never followed, so that a key goes nowhere else) | `NotFound` | |
/// | 408, 504 | `Timeout` | |
/// | 498, 503, 529 | `Overloaded` | |
/// | 409, any other 5xx | `Server` | |
/// | any other 4xx | `InvalidRequest` | |
///
/// A request that is larger than the limit never succeeds, so it is not `RateLimited`: waiting does not help, a smaller
/// request does. Limits of OpenAI hold for an organisation or project, so their scope is the group and never the key.
///
/// An answer below 500, a 503 or a 529 is a refusal and costs nothing; of any other it is not known. The message is the
/// vendor's, at most 1,000 characters, without `key` and whatever looks like a key. `now` is for a `Retry-After` that
/// is a date; without such a header the message's own "try again in 1.4s" counts. `x-should-retry` says whether to try
/// again, but for money, which waiting does not bring.
pub fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime, key: Option<&str>) -> Error {
    let told = Told::read(body);
    let meaning = Meaning::of(status.as_u16(), &told);
    let refused = status.as_u16() < 500 || matches!(status.as_u16(), 503 | 529);
    // What the model wrote in vain may be charged.
    let charge = if refused && meaning.kind != ErrorKind::Malformed { Charge::None } else { Charge::Unknown };
    let mut error = build(&told, meaning, Some(status), key).with_status(status.as_u16()).with_charge(charge);
    if waits(error.kind()) {
        let wait = retry_after(headers, now).or_else(|| wait_in_words(told.message.as_deref()?));
        if let Some(wait) = wait {
            error = error.with_retry_after(wait);
        }
    }
    if let Some(again) = should_retry(headers).filter(|_| error.kind() != ErrorKind::QuotaExhausted) {
        error = error.with_retryable(again);
    }
    match request_id(headers) {
        Some(id) => error.with_request_id(id),
        None => error,
    }
}

/// Makes an error of an `error` object inside an answer with status 200. `begun` says whether output came before it.
pub(super) fn classify_inner(error: &Value, begun: bool) -> Error {
    let told = Told::of_error(error);
    let meaning = Meaning::of(told.status.unwrap_or(200), &told);
    use ErrorKind::{Authentication, ContextTooLong, InvalidRequest, NotFound, Overloaded, PermissionDenied};
    use ErrorKind::{QuotaExhausted, RateLimited};
    let refused = matches!(
        meaning.kind,
        Authentication
            | ContextTooLong
            | InvalidRequest
            | NotFound
            | Overloaded
            | PermissionDenied
            | QuotaExhausted
            | RateLimited
    );
    let charge = if refused && !begun { Charge::None } else { Charge::Unknown };
    let error = build(&told, meaning, None, None).with_charge(charge);
    match told.message.as_deref().and_then(wait_in_words).filter(|_| waits(meaning.kind)) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

/// The vendor's id of a request.
pub(in crate::openai) fn request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get("x-request-id").or_else(|| headers.get("apim-request-id"))?.to_str().ok()?;
    (!id.is_empty() && id.len() <= 200).then_some(id)
}

fn build(told: &Told, meaning: Meaning, status: Option<StatusCode>, key: Option<&str>) -> Error {
    let message = match (&told.message, status) {
        (Some(message), Some(_)) if !message.trim().is_empty() => redact(message.trim(), key),
        // Inside an answer; the client, who knows the key, goes over it again.
        (Some(message), None) if !message.trim().is_empty() => clean(message.trim(), key),
        (_, Some(status)) if status.is_redirection() => {
            format!("the address redirects elsewhere (status {}): set the base URL to where it leads", status.as_u16())
        }
        (_, Some(status)) => format!("the vendor answered with status {} and no message", status.as_u16()),
        (_, None) => "the answer holds an error without a message".to_owned(),
    };
    let mut error = Error::new(meaning.kind, message);
    if let Some(code) = told.code.as_deref().or(told.kind.as_deref()) {
        error = error.with_code(redact(code, key));
    }
    match meaning.scope {
        Some(scope) => error.with_scope(scope),
        None => error,
    }
}

fn waits(kind: ErrorKind) -> bool {
    use ErrorKind::{Overloaded, QuotaExhausted, RateLimited, Server, Timeout};
    matches!(kind, Overloaded | QuotaExhausted | RateLimited | Server | Timeout)
}

/// The waiting time of "Please try again in 1.4s."
fn wait_in_words(message: &str) -> Option<std::time::Duration> {
    let (_, after) = message.split_once("try again in ")?;
    let mut words = after.split_whitespace().map(|word| word.trim_end_matches(['.', ',']));
    let figure = words.next()?;
    // "5 minutes": the unit may stand apart.
    let unit = words.next().filter(|_| figure.bytes().all(|byte| byte.is_ascii_digit()));
    let text = match unit {
        Some(unit) if unit.starts_with("minute") => format!("{figure}m"),
        Some(unit) if unit.starts_with("hour") => format!("{figure}h"),
        Some(unit) if unit.starts_with("milli") || unit == "ms" => format!("{figure}ms"),
        _ => figure.to_owned(),
    };
    duration(&text).filter(|wait| !wait.is_zero())
}
