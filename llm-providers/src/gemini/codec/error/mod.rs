//! What a refusal means.

mod kind;
mod midnight;

use std::time::SystemTime;

use http::{HeaderMap, StatusCode};
use llm_core::{
    Charge, Error,
    layer::{LimitScope, LimitWindow},
};

use self::{kind::meaning, midnight::until_midnight};
use crate::protocol::{
    error::{ErrorBody, build, may_pass},
    redact,
    wait::{NO_CLOCK, body_wait, stated_wait},
};

/// Makes an error of an HTTP answer that is none: its kind, code, scope of the limit, waiting time, charge.
///
/// | answer | kind | scope |
/// |---|---|---|
/// | 400 or 403 of a wrong, expired, leaked or missing key, 401 | `Authentication` | |
/// | more tokens than the model takes, with any status but 429 | `ContextTooLong` | |
/// | 400 `FAILED_PRECONDITION` (this account may not do it from here) | `PermissionDenied` | |
/// | 429 whose quota has `PerDay` in its id | `RateLimited` | model or group, day |
/// | 429 whose quota has `PerMinute` in its id | `RateLimited` | model or group, minute |
/// | 429 of a quota of 0, of credits or a spending cap used up | `QuotaExhausted` | group, money |
/// | any other 429 | `RateLimited` | |
/// | 403 · 404, 405, 410 | `PermissionDenied` · `NotFound` | |
/// | 3xx (never followed, so that a key goes nowhere else) | `NotFound` | |
/// | 408, 504 · 499 | `Timeout` · `Cancelled` | |
/// | 503, 529 | `Overloaded` | |
/// | 409, any other 5xx | `Server` | |
/// | any other 4xx | `InvalidRequest` | |
///
/// Quotas hold for a project, never for a key: the scope is the model if the quota's id has `PerModel` in it, else the
/// group.
///
/// The waiting time is that of `Retry-After`; without it the longer of `RetryInfo` and the message's own "retry in 48.9s",
/// which the former rounds down. For a quota of the day it is the time to midnight in California, when those begin anew,
/// however soon the vendor says to try again.
///
/// An answer below 500 but 499, a 503 or a 529 is a refusal and costs nothing; of any other it is not known. The code is
/// the `reason` of the error's details, else its `status`. The message is the vendor's, at most 1,000 characters, without
/// `key` and whatever looks like a key.
pub(crate) fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime, key: Option<&str>) -> Error {
    let body = ErrorBody::read(body);
    let code = status.as_u16();
    let meaning = meaning(code, &body);
    let refused = (code < 500 && code != 499) || matches!(code, 503 | 529);
    let charge = if refused { Charge::None } else { Charge::Unknown };
    let mut error = build(&body, meaning, Some(status), key).with_status(code).with_charge(charge);
    let wait = match meaning.scope {
        Some(LimitScope::Model(LimitWindow::Day) | LimitScope::Group(LimitWindow::Day)) => Some(until_midnight(now)),
        _ => stated_wait(headers, &body, now),
    };
    if let Some(wait) = wait.filter(|_| may_pass(meaning.kind)) {
        error = error.with_retry_after(wait);
    }
    match &body.request_id {
        Some(id) => error.with_request_id(redact(id, key)),
        None => error,
    }
}

/// Makes an error of one inside a successful response. `begun` says whether output came before it.
pub(super) fn classify_inner(body: &ErrorBody, begun: bool) -> Error {
    let meaning = meaning(200, body);
    let charge = if meaning.is_refusal() && !begun { Charge::None } else { Charge::Unknown };
    let error = build(body, meaning, None, None).with_charge(charge);
    let error = match body_wait(body, NO_CLOCK).filter(|_| may_pass(meaning.kind)) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    };
    match &body.request_id {
        Some(id) => error.with_request_id(redact(id, None)),
        None => error,
    }
}
