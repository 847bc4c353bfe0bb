use llm_core::{
    ErrorKind,
    layer::{LimitScope, LimitWindow},
};

use crate::protocol::error::{ErrorBody, Meaning};

/// Words of the messages that have no code of their own, in lower case.
const MONEY: [&str; 3] =
    ["reached your specified api usage limits", "credit balance is too low", "reached your api usage limits"];
const FILTERED: [&str; 1] = ["content filtering policy"];
/// HTTP statuses by the types of errors.
const NAMED: [(&str, u16); 10] = [
    ("invalid_request_error", 400),
    ("authentication_error", 401),
    ("billing_error", 402),
    ("permission_error", 403),
    ("not_found_error", 404),
    ("conflict_error", 409),
    ("request_too_large", 413),
    ("rate_limit_error", 429),
    ("timeout_error", 504),
    ("overloaded_error", 529),
];

/// Returns the meaning of a status and what the body says.
pub(super) fn meaning(status: u16, body: &ErrorBody) -> Meaning {
    let code = body.code.as_deref().unwrap_or_default();
    // A failure of the vendor is one, whatever its body says.
    let refused = status < 500;
    let money = code.ends_with("spend_limit_reached") || body.is(&["billing_error"]) || body.says(&MONEY);
    if refused && (status == 402 || money) {
        return of_money();
    }
    match status {
        429 => {
            let window = if body.says(&["per day", "daily"]) { LimitWindow::Day } else { LimitWindow::Minute };
            let scope = match code {
                "ramp_limit_exceeded" => LimitScope::Group(LimitWindow::Minute),
                _ => LimitScope::Model(window),
            };
            Meaning { kind: ErrorKind::RateLimited, scope: Some(scope) }
        }
        _ if body.is_too_long() => Meaning::plain(ErrorKind::ContextTooLong),
        400..=499 if body.says(&FILTERED) => Meaning::plain(ErrorKind::ContentFiltered),
        status => Meaning::plain(by_status(status)),
    }
}

/// Returns the meaning of an error inside a successful response.
pub(super) fn inner_meaning(body: &ErrorBody) -> Meaning {
    let named = body.kind.as_deref().and_then(|kind| NAMED.iter().find(|(known, _)| *known == kind));
    let status = named.map(|(_, status)| *status).or(body.status);
    match (meaning(status.unwrap_or(500), body), body.kind_in_words()) {
        (Meaning { kind: ErrorKind::Server, .. }, Some(kind)) if status.is_none() && body.name().is_none() => {
            if kind == ErrorKind::QuotaExhausted { of_money() } else { Meaning::plain(kind) }
        }
        (meaning, _) => meaning,
    }
}

fn of_money() -> Meaning {
    Meaning { kind: ErrorKind::QuotaExhausted, scope: Some(LimitScope::Group(LimitWindow::Money)) }
}

fn by_status(status: u16) -> ErrorKind {
    match status {
        401 => ErrorKind::Authentication,
        403 => ErrorKind::PermissionDenied,
        300..=399 | 404 | 405 | 410 => ErrorKind::NotFound,
        408 | 504 => ErrorKind::Timeout,
        503 | 529 => ErrorKind::Overloaded,
        409 | 500.. => ErrorKind::Server,
        _ => ErrorKind::InvalidRequest,
    }
}

/// Whether it may be an id of a request.
pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 200 && id.bytes().all(|b| b.is_ascii_graphic())
}
