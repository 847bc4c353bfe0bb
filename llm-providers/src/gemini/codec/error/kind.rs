use llm_core::{
    ErrorKind,
    layer::{LimitScope, LimitWindow},
};

use crate::protocol::error::{ErrorBody, Meaning};

/// HTTP statuses by the canonical names of errors.
const NAMED: [(&str, u16); 14] = [
    ("INVALID_ARGUMENT", 400),
    ("FAILED_PRECONDITION", 400),
    ("OUT_OF_RANGE", 400),
    ("UNAUTHENTICATED", 401),
    ("PERMISSION_DENIED", 403),
    ("NOT_FOUND", 404),
    ("ABORTED", 409),
    ("RESOURCE_EXHAUSTED", 429),
    ("CANCELLED", 499),
    ("INTERNAL", 500),
    ("UNKNOWN", 500),
    ("UNIMPLEMENTED", 501),
    ("UNAVAILABLE", 503),
    ("DEADLINE_EXCEEDED", 504),
];
const KEY: [&str; 3] = ["API_KEY_INVALID", "API_KEY_EXPIRED", "ACCESS_TOKEN_EXPIRED"];
const KEY_WORDS: [&str; 4] =
    ["api key not valid", "api key expired", "api key was reported as leaked", "unregistered callers"];
const MONEY_WORDS: [&str; 4] = ["credits are depleted", "spending cap", "spend limit", "billing account is not active"];

/// Returns the meaning of a status (200 for an error inside a successful response) and what the body says.
pub(super) fn meaning(status: u16, body: &ErrorBody) -> Meaning {
    let status = if status == 200 { inner(body) } else { status };
    match status {
        400 | 401 | 403 if body.is(&KEY) || body.says(&KEY_WORDS) => Meaning::plain(ErrorKind::Authentication),
        402 => of_money(),
        429 if body.says(&MONEY_WORDS) => of_money(),
        429 => of_quotas(body),
        _ if body.is_too_long() => Meaning::plain(ErrorKind::ContextTooLong),
        400 if body.is(&["FAILED_PRECONDITION"]) => Meaning::plain(ErrorKind::PermissionDenied),
        status => Meaning::plain(by_status(status)),
    }
}

fn of_money() -> Meaning {
    Meaning { kind: ErrorKind::QuotaExhausted, scope: Some(LimitScope::Group(LimitWindow::Money)) }
}

fn of_quotas(body: &ErrorBody) -> Meaning {
    // A plan without this model: there is never room.
    if body.quotas.iter().any(|(_, value)| value.as_deref() == Some("0")) {
        return of_money();
    }
    let limited = |id: &str, window| {
        let of_model = id.contains("PerModel");
        let scope = if of_model { LimitScope::Model(window) } else { LimitScope::Group(window) };
        Meaning { kind: ErrorKind::RateLimited, scope: Some(scope) }
    };
    // The longest wait decides.
    for (word, window) in [("PerDay", LimitWindow::Day), ("PerMinute", LimitWindow::Minute)] {
        if let Some((id, _)) = body.quotas.iter().find(|(id, _)| id.contains(word)) {
            return limited(id, window);
        }
    }
    Meaning::plain(ErrorKind::RateLimited)
}

/// Returns the HTTP status that an error inside a successful response would have.
fn inner(body: &ErrorBody) -> u16 {
    let named = body.kind.as_deref().and_then(|name| NAMED.iter().find(|(known, _)| *known == name));
    let said = || match body.kind_in_words().filter(|_| body.name().is_none())? {
        ErrorKind::Authentication => Some(401),
        ErrorKind::QuotaExhausted => Some(402),
        ErrorKind::PermissionDenied => Some(403),
        ErrorKind::NotFound => Some(404),
        ErrorKind::RateLimited => Some(429),
        ErrorKind::Overloaded => Some(503),
        ErrorKind::Timeout => Some(504),
        _ => None,
    };
    body.status.or(named.map(|(_, status)| *status)).or_else(said).unwrap_or(500)
}

fn by_status(status: u16) -> ErrorKind {
    match status {
        401 => ErrorKind::Authentication,
        403 => ErrorKind::PermissionDenied,
        300..=399 | 404 | 405 | 410 => ErrorKind::NotFound,
        408 | 504 => ErrorKind::Timeout,
        499 => ErrorKind::Cancelled,
        503 | 529 => ErrorKind::Overloaded,
        409 | 500.. => ErrorKind::Server,
        _ => ErrorKind::InvalidRequest,
    }
}
