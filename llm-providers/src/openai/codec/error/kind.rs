use llm_core::{ErrorKind, LimitScope, LimitWindow};

use super::told::Told;

/// What a refusal comes down to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Meaning {
    pub(super) kind: ErrorKind,
    pub(super) scope: Option<LimitScope>,
}

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
const TOO_LONG: [&str; 1] = ["context_length_exceeded"];
const TOO_LONG_WORDS: [&str; 3] =
    ["maximum context length", "exceeds the maximum number of tokens", "reduce the length of the messages"];
const KEY: [&str; 3] = ["invalid_api_key", "authentication_error", "invalid_authentication"];
const UNKNOWN: [&str; 3] = ["model_not_found", "DeploymentNotFound", "not_found_error"];
const RATE: [&str; 6] =
    ["rate_limit_exceeded", "rate_limit_error", "RateLimitReached", "slow_down", "requests", "tokens"];
const BUSY: [&str; 4] = ["server_is_overloaded", "service_unavailable_error", "overloaded_error", "engine_overloaded"];

impl Meaning {
    /// Of a status (200 for an error inside an answer) and what the body says.
    pub(super) fn of(status: u16, told: &Told) -> Self {
        let plain = |kind| Self { kind, scope: None };
        // A failure of the vendor is one, whatever its body says.
        let ours = status < 500;
        if ours && (told.is(&MONEY) || status == 402) {
            let scope = Some(LimitScope::Group(LimitWindow::Money));
            return Self { kind: ErrorKind::QuotaExhausted, scope };
        }
        if ours && told.is(&FILTERED) {
            return plain(ErrorKind::ContentFiltered);
        }
        if ours && told.reason.as_deref() == Some("moderation") {
            return plain(ErrorKind::ContentFiltered);
        }
        // The model called a tool wrongly; asked again, it may do better.
        if ours && told.is(&["tool_use_failed"]) {
            return plain(ErrorKind::Malformed);
        }
        if ours && status != 429 && (told.is(&TOO_LONG) || TOO_LONG_WORDS.iter().any(|words| told.says(words))) {
            return plain(ErrorKind::ContextTooLong);
        }
        // Groq refuses what is larger than a limit with 413.
        if status == 429 || (matches!(status, 200 | 413) && told.is(&RATE)) {
            return Self::of_limit(told);
        }
        match status {
            200..=299 => plain(Self::by_name(told)),
            400 if told.is(&KEY) || told.reason.as_deref() == Some("API_KEY_INVALID") => {
                plain(ErrorKind::Authentication)
            }
            400 if told.is(&UNKNOWN) => plain(ErrorKind::NotFound),
            status => plain(Self::by_status(status)),
        }
    }

    fn of_limit(told: &Told) -> Self {
        let limited = |window| Self { kind: ErrorKind::RateLimited, scope: Some(LimitScope::Group(window)) };
        if told.says("request too large") || exceeds(told.message.as_deref().unwrap_or_default()) {
            let scope = Some(LimitScope::Group(LimitWindow::Request));
            return Self { kind: ErrorKind::InvalidRequest, scope };
        }
        if ["per day", "per-day", "perday"].iter().any(|words| told.says(words)) {
            return limited(LimitWindow::Day);
        }
        if told.says("per minute") || told.is(&["requests", "tokens", "slow_down"]) {
            return limited(LimitWindow::Minute);
        }
        Self { kind: ErrorKind::RateLimited, scope: None }
    }

    fn by_name(told: &Told) -> ErrorKind {
        let named: [(&[&str], ErrorKind); 4] = [
            (&KEY, ErrorKind::Authentication),
            (&UNKNOWN, ErrorKind::NotFound),
            (&BUSY, ErrorKind::Overloaded),
            (&["permission_error", "permission_denied"], ErrorKind::PermissionDenied),
        ];
        // DeepSeek's code is `invalid_request_error` whatever happened, so here its type counts first.
        let wrong = ["invalid_request_error", "BadRequestError"];
        let invalid = told.kind.as_ref().or(told.code.as_ref()).is_some_and(|name| wrong.contains(&name.as_str()));
        if invalid && !named.iter().any(|(names, _)| told.is(names)) {
            return ErrorKind::InvalidRequest;
        }
        named.into_iter().find(|(names, _)| told.is(names)).map_or(ErrorKind::Server, |(_, kind)| kind)
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
