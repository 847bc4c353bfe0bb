//! What a refusal means.

mod kind;
mod midnight;
mod told;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use llm_core::{Charge, Error, ErrorKind, LimitScope, LimitWindow};
use serde_json::Value;

use self::{kind::Meaning, midnight::until_midnight, told::Told};
use crate::wire::{clean, duration, redact, retry_after};

/// Makes an error of an HTTP answer that is none: its kind, code, scope of the limit, waiting time, charge.
///
/// | answer | kind | scope |
/// |---|---|---|
/// | 400 or 403 of a wrong, expired, leaked or missing key, 401 | `Authentication` | |
/// | 400 of more tokens than the model takes | `ContextTooLong` | |
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
/// The waiting time is the longer of `RetryInfo` and the message's own "retry in 48.9s", which the former rounds down;
/// without them `Retry-After`. For a quota of the day it is the time to midnight in California, when those begin anew,
/// however soon the vendor says to try again.
///
/// An answer below 500 but 499, a 503 or a 529 is a refusal and costs nothing; of any other it is not known. The code is
/// the `reason` of the error's details, else its `status`. The message is the vendor's, at most 1,000 characters, without
/// `key` and whatever looks like a key.
pub fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime, key: Option<&str>) -> Error {
    let told = Told::read(body);
    let status = status.as_u16();
    let meaning = Meaning::of(status, &told);
    let refused = (status < 500 && status != 499) || matches!(status, 503 | 529);
    let charge = if refused { Charge::None } else { Charge::Unknown };
    let mut error = build(&told, meaning, Some(status), key).with_status(status).with_charge(charge);
    if waits(error.kind()) {
        let wait = match error.scope() {
            Some(LimitScope::Model(LimitWindow::Day) | LimitScope::Group(LimitWindow::Day)) => {
                Some(until_midnight(now))
            }
            _ => wait(&told).or_else(|| retry_after(headers, now)),
        };
        if let Some(wait) = wait {
            error = error.with_retry_after(wait);
        }
    }
    error
}

/// Makes an error of an `error` object inside an answer with status 200. `begun` says whether output came before it.
pub(super) fn classify_inner(error: &Value, begun: bool) -> Error {
    let told = Told::of_error(error);
    let meaning = Meaning::of(200, &told);
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
    match wait(&told).filter(|_| waits(meaning.kind)) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

fn build(told: &Told, meaning: Meaning, status: Option<u16>, key: Option<&str>) -> Error {
    let message = match (&told.message, status) {
        (Some(message), Some(_)) if !message.trim().is_empty() => redact(message.trim(), key),
        // Inside an answer; the client, who knows the key, goes over it again.
        (Some(message), None) if !message.trim().is_empty() => clean(message.trim(), key),
        (_, Some(status @ 300..=399)) => {
            format!("the address redirects elsewhere (status {status}): set the base URL to where it leads")
        }
        (_, Some(status)) => format!("the vendor answered with status {status} and no message"),
        (_, None) => "the answer holds an error without a message".to_owned(),
    };
    let mut error = Error::new(meaning.kind, message);
    if let Some(code) = told.reason.as_deref().or(told.status.as_deref()) {
        error = error.with_code(redact(code, key));
    }
    if let Some(id) = &told.request_id {
        error = error.with_request_id(redact(id, key));
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

fn wait(told: &Told) -> Option<Duration> {
    let words = || {
        let (_, after) = told.message.as_deref()?.split_once("retry in ")?;
        duration(after.split_whitespace().next()?.trim_end_matches(['.', ',']))
    };
    let info = told.retry_delay.as_deref().and_then(duration);
    info.max(words()).filter(|wait| !wait.is_zero())
}
