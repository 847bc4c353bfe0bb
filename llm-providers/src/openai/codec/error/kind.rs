use llm_core::{
    ErrorKind,
    layer::{LimitScope, LimitWindow},
};

use crate::protocol::error::{ErrorBody, Meaning};

/// Codes and types for "there is no money": waiting does not help.
const MONEY: [&str; 8] = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
    "billing_not_active",
    "insufficient_balance",
];
const FILTERED: [&str; 4] =
    ["content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation", "moderation_blocked"];
const KEY: [&str; 5] =
    ["invalid_api_key", "authentication_error", "invalid_authentication", "AuthenticationError", "API_KEY_INVALID"];
const UNKNOWN: [&str; 4] = ["model_not_found", "DeploymentNotFound", "not_found_error", "NotFoundError"];
const RATE: [&str; 7] = [
    "rate_limit_exceeded",
    "rate_limit_error",
    "RateLimitReached",
    "RateLimitError",
    "slow_down",
    "requests",
    "tokens",
];
const BUSY: [&str; 5] = [
    "server_is_overloaded",
    "service_unavailable_error",
    "overloaded_error",
    "engine_overloaded",
    "ServiceUnavailableError",
];
const INVALID: [&str; 2] = ["invalid_request_error", "BadRequestError"];

/// Returns the meaning of a status (200 for an error inside a successful response) and what the body says.
pub(super) fn meaning(status: u16, body: &ErrorBody) -> Meaning {
    // A failure of the vendor is one, whatever its body says.
    let ours = status < 500;
    if ours && (body.is(&MONEY) || status == 402) {
        return Meaning { kind: ErrorKind::QuotaExhausted, scope: Some(LimitScope::Group(LimitWindow::Money)) };
    }
    if ours && (body.is(&FILTERED) || body.flagged) {
        return Meaning::plain(ErrorKind::ContentFiltered);
    }
    // The model called a tool wrongly; asked again, it may do better.
    if ours && body.is(&["tool_use_failed"]) {
        return Meaning::plain(ErrorKind::Malformed);
    }
    // Local servers say it with a 500 too.
    if status != 429 && body.is_too_long() {
        return Meaning::plain(ErrorKind::ContextTooLong);
    }
    // Groq refuses what is larger than a limit with 413.
    if status == 429 || (matches!(status, 200 | 413) && body.is(&RATE)) {
        return of_limit(body);
    }
    match status {
        200..=299 => by_name(body),
        400 if body.is(&KEY) => Meaning::plain(ErrorKind::Authentication),
        400 if body.is(&UNKNOWN) => Meaning::plain(ErrorKind::NotFound),
        status => Meaning::plain(by_status(status)),
    }
}

fn of_limit(body: &ErrorBody) -> Meaning {
    let limited = |window| Meaning { kind: ErrorKind::RateLimited, scope: Some(LimitScope::Group(window)) };
    if body.says(&["request too large"]) || exceeds(body.message.as_deref().unwrap_or_default()) {
        let scope = Some(LimitScope::Group(LimitWindow::Request));
        return Meaning { kind: ErrorKind::InvalidRequest, scope };
    }
    if body.says(&["per day", "per-day", "perday"]) {
        return limited(LimitWindow::Day);
    }
    if body.says(&["per minute"]) || body.is(&["requests", "tokens", "slow_down"]) {
        return limited(LimitWindow::Minute);
    }
    Meaning::plain(ErrorKind::RateLimited)
}

/// Returns the meaning of an error that comes without a status.
fn by_name(body: &ErrorBody) -> Meaning {
    let named: [(&[&str], ErrorKind); 5] = [
        (&KEY, ErrorKind::Authentication),
        (&UNKNOWN, ErrorKind::NotFound),
        (&BUSY, ErrorKind::Overloaded),
        (&["permission_error", "permission_denied", "PermissionDeniedError"], ErrorKind::PermissionDenied),
        (&["timeout_error", "timeout"], ErrorKind::Timeout),
    ];
    if let Some((_, kind)) = named.into_iter().find(|(names, _)| body.is(names)) {
        return Meaning::plain(kind);
    }
    // DeepSeek's code is `invalid_request_error` whatever happened, so here its type counts first.
    let name = body.kind.as_deref().or(body.code.as_deref());
    if name.is_some_and(|name| INVALID.contains(&name)) {
        return Meaning::plain(ErrorKind::InvalidRequest);
    }
    match body.kind_in_words().filter(|_| name.is_none()) {
        Some(ErrorKind::RateLimited) => of_limit(body),
        Some(ErrorKind::QuotaExhausted) => {
            Meaning { kind: ErrorKind::QuotaExhausted, scope: Some(LimitScope::Group(LimitWindow::Money)) }
        }
        Some(kind) => Meaning::plain(kind),
        None => Meaning::plain(ErrorKind::Server),
    }
}

fn by_status(status: u16) -> ErrorKind {
    match status {
        401 => ErrorKind::Authentication,
        403 => ErrorKind::PermissionDenied,
        300..=399 | 404 | 405 | 410 => ErrorKind::NotFound,
        408 | 504 => ErrorKind::Timeout,
        498 | 503 | 529 => ErrorKind::Overloaded,
        409 | 500.. => ErrorKind::Server,
        _ => ErrorKind::InvalidRequest,
    }
}

/// Whether "Limit 30000, … Requested 40000" asks for more than there ever is.
fn exceeds(message: &str) -> bool {
    let number = |after: &str| -> Option<u64> {
        let (_, rest) = message.split_once(after)?;
        let digits: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
        digits.replace(',', "").parse().ok()
    };
    matches!((number("Limit "), number("Requested ")), (Some(limit), Some(requested)) if requested > limit)
}
