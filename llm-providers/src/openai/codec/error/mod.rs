//! What a refusal means.

mod kind;

use std::time::SystemTime;

use http::{HeaderMap, StatusCode};
use llm_core::{Charge, Error, ErrorKind};

use self::kind::meaning;
use crate::protocol::{
    error::{ErrorBody, build, may_pass, with_should_retry},
    wait::{NO_CLOCK, body_wait, should_retry, stated_wait},
};

/// Makes an error of an HTTP answer that is none: its kind, code, scope of the limit, waiting time, request id, charge.
///
/// | answer | kind | scope |
/// |---|---|---|
/// | `context_length_exceeded`, `exceed_context_size_error`, "exceeds the context window" and its like, also with 500 | `ContextTooLong` | |
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
/// vendor's, at most 1,000 characters, without `key` and whatever looks like a key. The waiting time is that of
/// `Retry-After`; without it the longer one of the body's own fields (`resets_in_seconds`) and of its message ("try again
/// in 1.4s", "retry after 33 seconds"); without these the reset of a limit of which nothing remains. Timestamps count from
/// `now`. `x-should-retry` says whether to try again, but for money and a prompt that is too long, which no waiting cures.
pub(crate) fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime, key: Option<&str>) -> Error {
    let body = ErrorBody::read(body);
    let meaning = meaning(status.as_u16(), &body);
    let refused = status.as_u16() < 500 || matches!(status.as_u16(), 503 | 529);
    // What the model wrote in vain may be charged.
    let charge = if refused && meaning.kind != ErrorKind::Malformed { Charge::None } else { Charge::Unknown };
    let mut error = build(&body, meaning, Some(status), key).with_status(status.as_u16()).with_charge(charge);
    if let Some(wait) = stated_wait(headers, &body, now).filter(|_| may_pass(meaning.kind)) {
        error = error.with_retry_after(wait);
    }
    let error = with_should_retry(error, should_retry(headers));
    match request_id(headers).or(body.request_id.as_deref()) {
        Some(id) => error.with_request_id(id),
        None => error,
    }
}

/// Makes an error of one inside a successful response. `begun` says whether output came before it.
pub(super) fn classify_inner(body: &ErrorBody, begun: bool) -> Error {
    let meaning = meaning(body.status.unwrap_or(200), body);
    let charge = if meaning.is_refusal() && !begun { Charge::None } else { Charge::Unknown };
    let error = build(body, meaning, None, None).with_charge(charge);
    match body_wait(body, NO_CLOCK).filter(|_| may_pass(meaning.kind)) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

/// The vendor's id of a request.
pub(in crate::openai) fn request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get("x-request-id").or_else(|| headers.get("apim-request-id"))?.to_str().ok()?;
    (!id.is_empty() && id.len() <= 200).then_some(id)
}
