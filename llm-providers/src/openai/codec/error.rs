use http::HeaderMap;
use llm_core::{
    ErrorKind,
    layer::{LimitScope, LimitWindow},
};

use crate::protocol::error::{ErrorBody, NO_STATUS, Rules, Sign, limit, money, row};

/// Codes and types of errors that report that money or a quota is used up.
const MONEY: &[&str] = &[
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
    "billing_not_active",
    "insufficient_balance",
];
const FILTERED: &[&str] =
    &["content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation", "moderation_blocked"];
const KEY: &[&str] =
    &["invalid_api_key", "authentication_error", "invalid_authentication", "AuthenticationError", "API_KEY_INVALID"];
const UNKNOWN: &[&str] = &["model_not_found", "DeploymentNotFound", "not_found_error", "NotFoundError"];
const RATE: &[&str] = &[
    "rate_limit_exceeded",
    "rate_limit_error",
    "RateLimitReached",
    "RateLimitError",
    "slow_down",
    "requests",
    "tokens",
];
/// Codes and types of rate limits that hold for one model.
const BY_MODEL: &[&str] = &["requests", "tokens", "slow_down", "RateLimitReached"];
const BUSY: &[&str] = &[
    "server_is_overloaded",
    "service_unavailable_error",
    "overloaded_error",
    "engine_overloaded",
    "ServiceUnavailableError",
];
const DENIED: &[&str] = &["permission_error", "permission_denied", "PermissionDeniedError"];
const INVALID: &[&str] = &["invalid_request_error", "BadRequestError"];
/// Groq's code for a tool call that the model wrote incorrectly. A retry of the request may succeed.
const TOOL_USE: &[&str] = &["tool_use_failed"];

/// Classification of errors, as the table in the documentation of [`openai`](crate::openai) states it.
pub(crate) const RULES: Rules = Rules {
    restated: &[
        (&[NO_STATUS], Sign::Named(MONEY), 402),
        (&[NO_STATUS], Sign::Named(FILTERED), 400),
        (&[NO_STATUS], Sign::Flagged, 400),
        (&[NO_STATUS], Sign::Named(TOOL_USE), 400),
        (&[NO_STATUS, 413], Sign::TooLong, 400),
        // Groq refuses a request that is larger than a limit with status 413, which counts as 429.
        (&[NO_STATUS, 413], Sign::Named(RATE), 429),
        (&[NO_STATUS], Sign::Named(KEY), 401),
        (&[NO_STATUS], Sign::Named(UNKNOWN), 404),
        (&[NO_STATUS], Sign::Named(BUSY), 503),
        (&[NO_STATUS], Sign::Named(DENIED), 403),
        (&[NO_STATUS], Sign::Named(&["timeout_error", "timeout"]), 504),
        // DeepSeek's code is `invalid_request_error` for every error, so the type is compared first.
        (&[NO_STATUS], Sign::Typed(INVALID), 400),
    ],
    rows: &[
        // A server error is a failure of the vendor, even if its body says otherwise.
        money(300..=499, Sign::Named(MONEY)),
        money(402..=402, Sign::Any),
        row(300..=499, Sign::Named(FILTERED), ErrorKind::ContentFiltered),
        row(300..=499, Sign::Flagged, ErrorKind::ContentFiltered),
        row(300..=499, Sign::Named(TOOL_USE), ErrorKind::Malformed),
        limit(429..=429, Sign::Says(&["request too large"]), ErrorKind::InvalidRequest, REQUEST),
        limit(429..=429, Sign::Test(requests_more_than_limit), ErrorKind::InvalidRequest, REQUEST),
        // OpenRouter counts the requests to all of its free models together.
        limit(429..=429, Sign::Says(&["free-models-per-day"]), ErrorKind::RateLimited, GROUP_DAY),
        limit(429..=429, Sign::Says(&["free-models-per-min"]), ErrorKind::RateLimited, GROUP_MINUTE),
        // OpenAI counts separately for each model of an organisation, Azure for each deployment, Groq for each model.
        limit(429..=429, Sign::Says(&["per day", "per-day", "perday"]), ErrorKind::RateLimited, DAY),
        limit(429..=429, Sign::Says(&["per min", "rate limit of your current"]), ErrorKind::RateLimited, MINUTE),
        limit(429..=429, Sign::Named(BY_MODEL), ErrorKind::RateLimited, MINUTE),
        row(429..=429, Sign::Any, ErrorKind::RateLimited),
        // Local servers report a prompt that is too long with status 500 too.
        row(300..=u16::MAX, Sign::TooLong, ErrorKind::ContextTooLong),
        row(400..=400, Sign::Named(KEY), ErrorKind::Authentication),
        row(400..=400, Sign::Named(UNKNOWN), ErrorKind::NotFound),
        row(498..=498, Sign::Any, ErrorKind::Overloaded),
    ],
    request_id,
    waits_below_500: true,
    fixed_wait: |_, _| None,
};
const REQUEST: LimitScope = LimitScope::Model(LimitWindow::Request);
const DAY: LimitScope = LimitScope::Model(LimitWindow::Day);
const MINUTE: LimitScope = LimitScope::Model(LimitWindow::Minute);
const GROUP_DAY: LimitScope = LimitScope::Group(LimitWindow::Day);
const GROUP_MINUTE: LimitScope = LimitScope::Group(LimitWindow::Minute);

/// Returns the vendor's id of a request, from the headers.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get("x-request-id").or_else(|| headers.get("apim-request-id"))?.to_str().ok()?;
    (!id.is_empty() && id.len() <= 200).then_some(id)
}

/// Returns `true` if the message, such as "Limit 30000, … Requested 40000", states that the request is larger than the
/// limit.
fn requests_more_than_limit(body: &ErrorBody) -> bool {
    let message = body.message.as_deref().unwrap_or_default();
    let number = |after: &str| -> Option<u64> {
        let (_, rest) = message.split_once(after)?;
        let digits: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
        digits.replace(',', "").parse().ok()
    };
    matches!((number("Limit "), number("Requested ")), (Some(limit), Some(requested)) if requested > limit)
}
