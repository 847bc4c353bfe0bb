//! What a refusal means.

mod kind;

use std::time::SystemTime;

use http::{HeaderMap, StatusCode};
use llm_core::{Charge, Error};

use self::kind::{inner_meaning, meaning};
use crate::protocol::{
    error::{ErrorBody, build, may_pass, with_should_retry},
    wait::{NO_CLOCK, body_wait, should_retry, stated_wait},
};

/// Makes an error of an HTTP answer that is none: its kind, code, scope of the limit, waiting time, request id, charge.
///
/// | answer | kind | scope |
/// |---|---|---|
/// | "prompt is too long" and its like, also with 500 | `ContextTooLong` | |
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
/// error's type. `x-should-retry` says whether to try again, but for money and a prompt that is too long, which no waiting
/// cures. An answer below 500, a 503 or a 529 is a refusal and costs nothing; of any other it is not known. A waiting time
/// counts with 429 and from 500 on, for this vendor sends `Retry-After` with others too; without that header it is the one
/// in the body, else the reset of a limit of which nothing remains. The message is the vendor's, at most 1,000 characters,
/// without `key` and whatever looks like a key.
pub(crate) fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime, key: Option<&str>) -> Error {
    let body = ErrorBody::read(body);
    let code = status.as_u16();
    let meaning = meaning(code, &body);
    let refused = code < 500 || matches!(code, 503 | 529);
    let charge = if refused { Charge::None } else { Charge::Unknown };
    let mut error = build(&body, meaning, Some(status), key).with_status(code).with_charge(charge);
    let waits = code == 429 || (code >= 500 && may_pass(meaning.kind));
    if let Some(wait) = stated_wait(headers, &body, now).filter(|_| waits) {
        error = error.with_retry_after(wait);
    }
    let error = with_should_retry(error, should_retry(headers));
    match request_id(headers).or(body.request_id.as_deref()) {
        Some(id) => error.with_request_id(id),
        None => error,
    }
}

/// Makes an error of one inside a successful response. `begun` says whether the answer had begun.
pub(super) fn classify_inner(body: &ErrorBody, begun: bool) -> Error {
    let meaning = inner_meaning(body);
    let charge = if meaning.is_refusal() && !begun { Charge::None } else { Charge::Unknown };
    let error = build(body, meaning, None, None).with_charge(charge);
    match body_wait(body, NO_CLOCK).filter(|_| may_pass(meaning.kind)) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

/// The vendor's id of a request.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("request-id")?.to_str().ok().filter(|id| kind::is_id(id))
}
