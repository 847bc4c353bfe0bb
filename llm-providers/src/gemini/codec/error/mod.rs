mod midnight;

use std::time::{Duration, SystemTime};

use llm_core::{
    ErrorKind,
    layer::{LimitScope, LimitWindow},
};

use self::midnight::until_midnight;
use crate::protocol::error::{Classification, NO_STATUS, Rules, Sign, limit, money, row};

const KEY: &[&str] = &["API_KEY_INVALID", "API_KEY_EXPIRED", "ACCESS_TOKEN_EXPIRED"];
const KEY_WORDS: &[&str] =
    &["api key not valid", "api key expired", "api key was reported as leaked", "unregistered callers"];
const MONEY_WORDS: &[&str] = &["credits are depleted", "spending cap", "spend limit", "billing account is not active"];

/// Classification of errors, as the table in the documentation of [`gemini`](crate::gemini) states it.
pub(crate) const RULES: Rules = Rules {
    restated: &[
        (&[NO_STATUS], Sign::Typed(&["INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"]), 400),
        (&[NO_STATUS], Sign::Typed(&["UNAUTHENTICATED"]), 401),
        (&[NO_STATUS], Sign::Typed(&["PERMISSION_DENIED"]), 403),
        (&[NO_STATUS], Sign::Typed(&["NOT_FOUND"]), 404),
        (&[NO_STATUS], Sign::Typed(&["ABORTED"]), 409),
        (&[NO_STATUS], Sign::Typed(&["RESOURCE_EXHAUSTED"]), 429),
        (&[NO_STATUS], Sign::Typed(&["CANCELLED"]), 499),
        (&[NO_STATUS], Sign::Typed(&["INTERNAL", "UNKNOWN"]), 500),
        (&[NO_STATUS], Sign::Typed(&["UNIMPLEMENTED"]), 501),
        (&[NO_STATUS], Sign::Typed(&["UNAVAILABLE"]), 503),
        (&[NO_STATUS], Sign::Typed(&["DEADLINE_EXCEEDED"]), 504),
    ],
    rows: &[
        money(402..=402, Sign::Any),
        row(400..=403, Sign::Named(KEY), ErrorKind::Authentication),
        row(400..=403, Sign::Says(KEY_WORDS), ErrorKind::Authentication),
        money(429..=429, Sign::Says(MONEY_WORDS)),
        money(429..=429, Sign::ZeroQuota),
        // The quota with the longest waiting time decides.
        limit(429..=429, Sign::Quota(&["PerDay", "PerModel"]), ErrorKind::RateLimited, MODEL_DAY),
        limit(429..=429, Sign::Quota(&["PerDay"]), ErrorKind::RateLimited, GROUP_DAY),
        limit(429..=429, Sign::Quota(&["PerMinute", "PerModel"]), ErrorKind::RateLimited, MODEL_MINUTE),
        limit(429..=429, Sign::Quota(&["PerMinute"]), ErrorKind::RateLimited, GROUP_MINUTE),
        row(429..=429, Sign::Any, ErrorKind::RateLimited),
        row(300..=u16::MAX, Sign::TooLong, ErrorKind::ContextTooLong),
        row(400..=400, Sign::Named(&["FAILED_PRECONDITION"]), ErrorKind::PermissionDenied),
        row(499..=499, Sign::Any, ErrorKind::Cancelled),
    ],
    request_id: |_| None,
    waits_below_500: true,
    fixed_wait: until_new_day,
};
const MODEL_DAY: LimitScope = LimitScope::Model(LimitWindow::Day);
const GROUP_DAY: LimitScope = LimitScope::Group(LimitWindow::Day);
const MODEL_MINUTE: LimitScope = LimitScope::Model(LimitWindow::Minute);
const GROUP_MINUTE: LimitScope = LimitScope::Group(LimitWindow::Minute);

/// Returns the time until midnight in California, when daily quotas are reset, even if the vendor advises to retry
/// earlier.
fn until_new_day(found: Classification, now: SystemTime) -> Option<Duration> {
    matches!(found.scope, Some(MODEL_DAY | GROUP_DAY)).then(|| until_midnight(now))
}
