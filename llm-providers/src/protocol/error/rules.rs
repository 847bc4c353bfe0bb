use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use llm_core::{
    Charge, Error, ErrorKind,
    layer::{LimitScope, LimitWindow},
};

use super::{
    ErrorBody,
    classification::{Classification, build, may_pass, with_should_retry},
};
use crate::protocol::{
    redact,
    wait::{should_retry, stated_wait},
};

/// Status used for errors without a status of their own, because they are inside a successful response.
pub(crate) const NO_STATUS: u16 = 0;

/// Rules by which one vendor's errors are classified.
pub(crate) struct Rules {
    /// Replacements of statuses such as [`NO_STATUS`]: the statuses, the body that must match, and the new status. The
    /// first match decides.
    pub(crate) restated: &'static [(&'static [u16], Sign, u16)],
    /// Classifications by status and body. The first match decides. If none matches, the rows that all vendors share
    /// are tried.
    pub(crate) rows: &'static [Row],
    /// Reads the vendor's id of a request from the headers.
    pub(crate) request_id: fn(&HeaderMap) -> Option<&str>,
    /// False if a stated waiting time is ignored for statuses below 500 other than 429.
    pub(crate) waits_below_500: bool,
    /// Returns the waiting time that replaces the stated one, for limits whose reset time is known; `None` for other
    /// limits.
    pub(crate) fixed_wait: fn(Classification, SystemTime) -> Option<Duration>,
}

/// Row of a table of rules: the statuses and the body that it matches, and the resulting classification.
pub(crate) struct Row {
    statuses: RangeInclusive<u16>,
    sign: Sign,
    classification: Classification,
}

/// Property of an error's body that a rule looks for.
#[derive(Clone, Copy)]
pub(crate) enum Sign {
    /// Matches every body.
    Any,
    /// Matches if the code, type or reason is one of these.
    Named(&'static [&'static str]),
    /// Matches if the type, or the code of an error without a type, is one of these.
    Typed(&'static [&'static str]),
    /// Matches if the code ends with this.
    CodeEnds(&'static str),
    /// Matches if the message contains one of these, which are in lower case.
    Says(&'static [&'static str]),
    /// Matches if the prompt is longer than the model's context.
    TooLong,
    /// Matches if a moderation refused the prompt.
    Flagged,
    /// Matches if the id of one of Google's quotas contains all of these.
    Quota(&'static [&'static str]),
    /// Matches if one of Google's quotas is zero, because the plan does not include the model.
    ZeroQuota,
    /// Matches if the function returns `true`.
    Test(fn(&ErrorBody) -> bool),
}

/// Creates a row without a scope.
pub(crate) const fn row(statuses: RangeInclusive<u16>, sign: Sign, kind: ErrorKind) -> Row {
    Row { statuses, sign, classification: Classification { kind, scope: None } }
}

/// Creates a row with the scope of the limit that was hit.
pub(crate) const fn limit(statuses: RangeInclusive<u16>, sign: Sign, kind: ErrorKind, scope: LimitScope) -> Row {
    Row { statuses, sign, classification: Classification { kind, scope: Some(scope) } }
}

/// Creates a row for money that is used up, against which waiting does not help.
pub(crate) const fn money(statuses: RangeInclusive<u16>, sign: Sign) -> Row {
    limit(statuses, sign, ErrorKind::QuotaExhausted, LimitScope::Group(LimitWindow::Money))
}

/// Rows that all vendors share. They are tried after the vendor's own.
const SHARED: [Row; 13] = [
    row(300..=399, Sign::Any, ErrorKind::NotFound),
    row(401..=401, Sign::Any, ErrorKind::Authentication),
    row(403..=403, Sign::Any, ErrorKind::PermissionDenied),
    row(404..=405, Sign::Any, ErrorKind::NotFound),
    row(408..=408, Sign::Any, ErrorKind::Timeout),
    row(409..=409, Sign::Any, ErrorKind::Server),
    row(410..=410, Sign::Any, ErrorKind::NotFound),
    row(503..=503, Sign::Any, ErrorKind::Overloaded),
    row(504..=504, Sign::Any, ErrorKind::Timeout),
    row(529..=529, Sign::Any, ErrorKind::Overloaded),
    row(500..=u16::MAX, Sign::Any, ErrorKind::Server),
    row(429..=429, Sign::Any, ErrorKind::RateLimited),
    row(0..=u16::MAX, Sign::Any, ErrorKind::InvalidRequest),
];

impl Rules {
    /// Creates the error for a response with an error status. The error's message contains neither `key` nor anything
    /// that looks like a key.
    pub(crate) fn classify(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: SystemTime,
        key: Option<&str>,
    ) -> Error {
        let body = ErrorBody::read(body);
        let code = status.as_u16();
        let found = self.find(if status.is_success() { NO_STATUS } else { code }, &body);
        // A response that failed or was cancelled after output had begun may be charged.
        let refused = code < 500 && !matches!(found.kind, ErrorKind::Malformed | ErrorKind::Cancelled);
        let charge = if refused || matches!(code, 503 | 529) { Charge::None } else { Charge::Unknown };
        let mut error = build(&body, found, Some(status), key).with_status(code).with_charge(charge);
        let waits = may_pass(found.kind) && (self.waits_below_500 || code == 429 || code >= 500);
        let wait = (self.fixed_wait)(found, now).or_else(|| stated_wait(headers, &body.waits(), now));
        if let Some(wait) = wait.filter(|_| waits) {
            error = error.with_retry_after(wait);
        }
        let error = with_should_retry(error, should_retry(headers));
        match (self.request_id)(headers).or(body.request_id.as_deref()) {
            Some(id) => error.with_request_id(redact(id, key)),
            None => error,
        }
    }

    /// Creates the error for an error inside a successful response. `has_content` is true if content arrived before the
    /// error. The client adds the waiting time, because a decoder has no clock.
    pub(crate) fn classify_inner(&self, body: &ErrorBody, has_content: bool) -> Error {
        let found = self.find(body.status.unwrap_or(NO_STATUS), body);
        let charge = if found.is_refusal() && !has_content { Charge::None } else { Charge::Unknown };
        let error = build(body, found, None, None).with_charge(charge);
        match &body.request_id {
            Some(id) => error.with_request_id(redact(id, None)),
            None => error,
        }
    }

    fn find(&self, status: u16, body: &ErrorBody) -> Classification {
        let restated = self.restated.iter().find(|(from, sign, _)| from.contains(&status) && sign.is_in(body));
        let status = match (restated, status) {
            (Some((.., restated)), _) => *restated,
            (None, NO_STATUS) => status_in_words(body),
            (None, status) => status,
        };
        let mut rows = self.rows.iter().chain(&SHARED);
        let found = rows.find(|row| row.statuses.contains(&status) && row.sign.is_in(body));
        found.map_or(Classification { kind: ErrorKind::Server, scope: None }, |row| row.classification)
    }
}

impl Sign {
    fn is_in(self, body: &ErrorBody) -> bool {
        match self {
            Self::Any => true,
            Self::Named(names) => body.is(names),
            Self::Typed(names) => {
                body.kind.as_deref().or(body.code.as_deref()).is_some_and(|name| names.contains(&name))
            }
            Self::CodeEnds(end) => body.code.as_deref().is_some_and(|code| code.ends_with(end)),
            Self::Says(words) => body.says(words),
            Self::TooLong => body.is_too_long(),
            Self::Flagged => body.flagged,
            Self::Quota(words) => body.quotas.iter().any(|(id, _)| words.iter().all(|word| id.contains(word))),
            Self::ZeroQuota => body.quotas.iter().any(|(_, value)| value.as_deref() == Some("0")),
            Self::Test(test) => test(body),
        }
    }
}

/// Returns the HTTP status that corresponds to the words of a message, for an error without a name.
fn status_in_words(body: &ErrorBody) -> u16 {
    match body.kind_in_words().filter(|_| body.name().is_none() && !body.is_too_long()) {
        Some(ErrorKind::Authentication) => 401,
        Some(ErrorKind::QuotaExhausted) => 402,
        Some(ErrorKind::PermissionDenied) => 403,
        Some(ErrorKind::NotFound) => 404,
        Some(ErrorKind::RateLimited) => 429,
        Some(ErrorKind::Overloaded) => 503,
        Some(ErrorKind::Timeout) => 504,
        _ => 500,
    }
}
