//! What a refusal means.

mod kind;

use std::time::SystemTime;

use http::{HeaderMap, StatusCode};
use llm_core::{Charge, Error, ErrorKind};
use serde_json::Value;

use self::kind::{Meaning, Told};
use crate::wire::{clean, redact, retry_after, wait::should_retry};

/// Makes an error of an HTTP answer that is none: its kind, code, scope of the limit, waiting time, request id, charge.
///
/// | answer | kind | scope |
/// |---|---|---|
/// | 400 "prompt is too long" and its like | `ContextTooLong` | |
/// | 400 "blocked by content filtering policy" | `ContentFiltered` | |
/// | 400 of a spending limit or an empty balance, 402, 429 `…_spend_limit_reached` | `QuotaExhausted` | group, money |
/// | 429 `ramp_limit_exceeded` | `RateLimited` | group, minute |
/// | any other 429 | `RateLimited` | model, minute or day |
/// | 401 · 403 · 404, 405, 410, 3xx | `Authentication` · `PermissionDenied` · `NotFound` | |
/// | 408, 504 | `Timeout` | |
/// | 503, 529 | `Overloaded` | |
/// | 409, any other 5xx | `Server` | |
/// | any other 4xx, such as 413 | `InvalidRequest` | |
///
/// Rate limits hold for a model and all keys of an organisation. The code is `error.details.error_code`, otherwise the
/// error's type. `x-should-retry` says whether to try again, but for money, which waiting does not bring. An answer below
/// 500, a 503 or a 529 is a refusal and costs nothing; of any other it is not known. `Retry-After` counts with 429 and
/// from 500 on, for this vendor sends it with others too. The message is the vendor's, at most 1,000 characters,
/// without `key` and whatever looks like a key.
pub fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime, key: Option<&str>) -> Error {
    let told = Told::read(body);
    let code = status.as_u16();
    let meaning = Meaning::of(code, &told);
    let refused = code < 500 || matches!(code, 503 | 529);
    let charge = if refused { Charge::None } else { Charge::Unknown };
    let mut error = build(&told, meaning, Some(status), key).with_status(code).with_charge(charge);
    if (code == 429 || code >= 500)
        && let Some(wait) = retry_after(headers, now)
    {
        error = error.with_retry_after(wait);
    }
    if let Some(again) = should_retry(headers).filter(|_| error.kind() != ErrorKind::QuotaExhausted) {
        error = error.with_retryable(again);
    }
    match request_id(headers).or(told.request_id.as_deref()) {
        Some(id) => error.with_request_id(id),
        None => error,
    }
}

/// Makes an error of an `error` object inside an answer with status 200. `begun` says whether the answer had begun.
pub(super) fn classify_inner(error: &Value, begun: bool) -> Error {
    let told = Told::of_error(error);
    let meaning = Meaning::of(told.status(), &told);
    use ErrorKind::{ContentFiltered, Server, Timeout};
    let refused = !matches!(meaning.kind, ContentFiltered | Server | Timeout);
    let charge = if refused && !begun { Charge::None } else { Charge::Unknown };
    build(&told, meaning, None, None).with_charge(charge)
}

/// The vendor's id of a request.
pub fn request_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("request-id")?.to_str().ok().filter(|id| kind::is_id(id))
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
