use http::HeaderMap;
use llm_core::{
    ErrorKind,
    layer::{LimitScope, LimitWindow},
};

use crate::protocol::error::{NO_STATUS, Rules, Sign, limit, money, row};

/// Words in messages about money, for errors without a code of their own.
const MONEY: &[&str] =
    &["reached your specified api usage limits", "credit balance is too low", "reached your api usage limits"];

/// Classification of errors, as the table in the documentation of [`anthropic`](crate::anthropic) states it.
pub(crate) const RULES: Rules = Rules {
    restated: &[
        (&[NO_STATUS], Sign::Typed(&["invalid_request_error"]), 400),
        (&[NO_STATUS], Sign::Typed(&["authentication_error"]), 401),
        (&[NO_STATUS], Sign::Typed(&["billing_error"]), 402),
        (&[NO_STATUS], Sign::Typed(&["permission_error"]), 403),
        (&[NO_STATUS], Sign::Typed(&["not_found_error"]), 404),
        (&[NO_STATUS], Sign::Typed(&["conflict_error"]), 409),
        (&[NO_STATUS], Sign::Typed(&["request_too_large"]), 413),
        (&[NO_STATUS], Sign::Typed(&["rate_limit_error"]), 429),
        (&[NO_STATUS], Sign::Typed(&["timeout_error"]), 504),
        (&[NO_STATUS], Sign::Typed(&["overloaded_error"]), 529),
    ],
    rows: &[
        // A server error is a failure of the vendor, even if its body says otherwise.
        money(300..=499, Sign::CodeEnds("spend_limit_reached")),
        money(300..=499, Sign::Named(&["billing_error"])),
        money(300..=499, Sign::Says(MONEY)),
        money(402..=402, Sign::Any),
        limit(429..=429, Sign::Named(&["ramp_limit_exceeded"]), ErrorKind::RateLimited, RAMP),
        limit(429..=429, Sign::Says(&["per day", "daily"]), ErrorKind::RateLimited, DAY),
        limit(429..=429, Sign::Any, ErrorKind::RateLimited, MINUTE),
        row(300..=u16::MAX, Sign::TooLong, ErrorKind::ContextTooLong),
        row(400..=499, Sign::Says(&["content filtering policy"]), ErrorKind::ContentFiltered),
    ],
    request_id,
    // This vendor sends `Retry-After` even with errors that waiting does not help against.
    waits_below_500: false,
    fixed_wait: |_, _| None,
};
const RAMP: LimitScope = LimitScope::Group(LimitWindow::Minute);
const DAY: LimitScope = LimitScope::Model(LimitWindow::Day);
const MINUTE: LimitScope = LimitScope::Model(LimitWindow::Minute);

/// Returns the vendor's id of a request, from the headers.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get("request-id")?.to_str().ok()?;
    (!id.is_empty() && id.len() <= 200 && id.bytes().all(|byte| byte.is_ascii_graphic())).then_some(id)
}
