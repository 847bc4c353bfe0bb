use llm_core::{ErrorKind, LimitScope, LimitWindow};

use super::told::Told;

/// What a refusal comes down to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Meaning {
    pub(super) kind: ErrorKind,
    pub(super) scope: Option<LimitScope>,
}

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
const LONG_WORDS: [&str; 3] =
    ["exceeds the maximum number of tokens", "exceeds the maximum number of input tokens", "input context is too long"];
const MONEY_WORDS: [&str; 4] = ["credits are depleted", "spending cap", "spend limit", "billing account is not active"];

impl Meaning {
    /// Of a status (200 for an error inside an answer) and what the body says.
    pub(super) fn of(status: u16, told: &Told) -> Self {
        let plain = |kind| Self { kind, scope: None };
        let status = if status == 200 { inner(told) } else { status };
        let says = |words: &[&str]| words.iter().any(|words| told.says(words));
        match status {
            400 | 401 | 403 if told.is(&KEY) || says(&KEY_WORDS) => plain(ErrorKind::Authentication),
            400 | 413 if says(&LONG_WORDS) => plain(ErrorKind::ContextTooLong),
            400 if told.is(&["FAILED_PRECONDITION"]) => plain(ErrorKind::PermissionDenied),
            402 => Self::of_money(),
            429 if says(&MONEY_WORDS) => Self::of_money(),
            429 => Self::of_quotas(told),
            status => plain(by_status(status)),
        }
    }

    fn of_money() -> Self {
        Self { kind: ErrorKind::QuotaExhausted, scope: Some(LimitScope::Group(LimitWindow::Money)) }
    }

    fn of_quotas(told: &Told) -> Self {
        // A plan without this model: there is never room.
        if told.quotas.iter().any(|(_, value)| value.as_deref() == Some("0")) {
            return Self::of_money();
        }
        let limited = |id: &str, window| {
            let of_model = id.contains("PerModel");
            let scope = if of_model { LimitScope::Model(window) } else { LimitScope::Group(window) };
            Self { kind: ErrorKind::RateLimited, scope: Some(scope) }
        };
        // The longest wait decides.
        for (word, window) in [("PerDay", LimitWindow::Day), ("PerMinute", LimitWindow::Minute)] {
            if let Some((id, _)) = told.quotas.iter().find(|(id, _)| id.contains(word)) {
                return limited(id, window);
            }
        }
        Self { kind: ErrorKind::RateLimited, scope: None }
    }
}

/// The HTTP status that an error inside an answer would have.
fn inner(told: &Told) -> u16 {
    let named = told.status.as_deref().and_then(|name| NAMED.iter().find(|(known, _)| *known == name));
    told.number.or(named.map(|(_, status)| *status)).unwrap_or(500)
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
