//! Errors and replies in HTTP: the status and the headers that a service sends to its own clients.
//!
//! The module does not build responses, and depends on no web framework. A handler of axum, for example, returns
//! `(http::status(&error), http::error_headers(&error), http::message(&error))`. Bodies in OpenAI's form are in
//! `llm_providers::openai::serve`.
//!
//! | kind | status |
//! |---|---|
//! | `InvalidRequest`, `ContextTooLong`, `ContentFiltered`, `Unsupported` | 400 |
//! | `NotFound` | 404 |
//! | `RateLimited`, `OverBudget` | 429 |
//! | `Other` | 500 |
//! | `Server`, `Transport`, `Malformed`, `Incomplete`, `Authentication`, `PermissionDenied` | 502 |
//! | `Overloaded`, `Unavailable`, `QuotaExhausted`, `Cancelled`, `Closed` | 503 |
//! | `Timeout`, `DeadlineExceeded` | 504 |
//!
//! The vendor's own status does not affect the service's status, because a vendor's 401, 402 or 403 concerns the
//! service's key and not the client's.

use std::{borrow::Cow, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{AGE, CACHE_STATUS, RETRY_AFTER},
};

use crate::{Error, ErrorKind, Origin, Reply, Usd, extensions::HeaderFields};

/// Name of the header that states the amount paid for the response in this call, in dollars: `0.00012`.
pub const PAID_USD: HeaderName = HeaderName::from_static("x-llm-paid-usd");
/// Name of the header that states the amount saved on the response, in dollars.
pub const SAVED_USD: HeaderName = HeaderName::from_static("x-llm-saved-usd");
/// Name of the header that says if the same request may succeed later: `true` or `false`. OpenAI's own clients follow
/// it.
pub const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// Returns the HTTP status for an error, by the table in the module's documentation.
///
/// ```
/// use llm_core::{Error, ErrorKind, http};
///
/// let error = Error::new(ErrorKind::OverBudget, "the limit $3/day per tenant is used up");
/// assert_eq!(http::status(&error).as_u16(), 429);
/// ```
pub fn status(error: &Error) -> StatusCode {
    match error.kind() {
        ErrorKind::InvalidRequest | ErrorKind::ContextTooLong | ErrorKind::ContentFiltered | ErrorKind::Unsupported => {
            StatusCode::BAD_REQUEST
        }
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::RateLimited | ErrorKind::OverBudget => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Server
        | ErrorKind::Transport
        | ErrorKind::Malformed
        | ErrorKind::Incomplete
        | ErrorKind::Authentication
        | ErrorKind::PermissionDenied => StatusCode::BAD_GATEWAY,
        ErrorKind::Overloaded
        | ErrorKind::Unavailable
        | ErrorKind::QuotaExhausted
        | ErrorKind::Cancelled
        | ErrorKind::Closed => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Timeout | ErrorKind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Other => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Returns the text of an error for clients of the service. The text is the error's message if the message concerns the
/// client's request or limits. Otherwise the text is only the kind, because the message is for the operator and may
/// name keys, accounts and members of a pool.
///
/// ```
/// use llm_core::{Error, ErrorKind, http};
///
/// let own = Error::new(ErrorKind::OverBudget, "the limit $3/day per tenant is used up");
/// assert_eq!(http::message(&own), "the limit $3/day per tenant is used up");
/// let vendor = Error::new(ErrorKind::RateLimited, "Rate limit reached for org-1").with_status(429);
/// assert_eq!(http::message(&vendor), "the service cannot answer now: rate limited");
/// ```
pub fn message(error: &Error) -> Cow<'_, str> {
    match error.kind() {
        ErrorKind::InvalidRequest
        | ErrorKind::ContextTooLong
        | ErrorKind::ContentFiltered
        | ErrorKind::Unsupported
        | ErrorKind::NotFound
        | ErrorKind::OverBudget => error.message().into(),
        ErrorKind::RateLimited if error.status().is_none() => error.message().into(),
        kind => format!("the service cannot answer now: {kind}").into(),
    }
}

/// Returns the headers for an error: `Retry-After` in seconds, rounded up, and in milliseconds; `x-should-retry`; and
/// the header fields that the failing layer adds, such as a limiter's `x-ratelimit-*`. A vendor's own limits are not
/// included.
///
/// ```
/// use std::time::Duration;
/// use llm_core::{Error, ErrorKind, http};
///
/// let error = Error::new(ErrorKind::RateLimited, "busy").with_retry_after(Duration::from_millis(1_200));
/// let headers = http::error_headers(&error);
/// assert_eq!((&headers["retry-after"], &headers["x-should-retry"]), (&"2".parse()?, &"true".parse()?));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn error_headers(error: &Error) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(after) = error.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds_up(after)));
        headers.insert(RETRY_AFTER_MS, HeaderValue::from(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)));
    }
    let may_retry = if error.is_retryable() { "true" } else { "false" };
    headers.insert(SHOULD_RETRY, HeaderValue::from_static(may_retry));
    extend(&mut headers, error.header_fields());
    headers
}

/// Returns the headers for a reply: `Cache-Status` and `Age` of a stored response, the amounts paid and saved, and the
/// header fields that layers add, such as a limiter's `x-ratelimit-*`. Amounts that are not known yet, such as those of
/// a stream that still runs, are left out.
///
/// ```
/// use llm_core::{Origin, Receipt, Reply, Usd, http, layer::Accounting};
/// use std::time::Duration;
///
/// let mut accounting = Accounting::default();
/// accounting.origin = Origin::Cache { tier: "memory", age: Duration::from_secs(90) };
/// let headers = http::reply_headers(&Reply::new("yes", Receipt::new(accounting)));
/// assert_eq!((&headers["age"], &headers["x-llm-paid-usd"]), (&"90".parse()?, &"0.00".parse()?));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn reply_headers<O>(reply: &Reply<O>) -> HeaderMap {
    let accounting = reply.receipt.accounting();
    let mut headers = HeaderMap::new();
    if let Origin::Cache { tier, age } = accounting.origin {
        headers.insert(AGE, HeaderValue::from(age.as_secs()));
        let status = format!("llm-cache; hit; detail=\"{tier}, {} s old\"", age.as_secs());
        extend(&mut headers, vec![(CACHE_STATUS.as_str().to_owned(), status)]);
    }
    if let Some(paid) = accounting.paid().exact() {
        insert_amount(&mut headers, PAID_USD, paid);
        insert_amount(&mut headers, SAVED_USD, accounting.saved.total());
    }
    extend(&mut headers, reply.extensions.header_fields());
    headers
}

/// Inserts header fields into `headers`. A field that is not a valid header is left out.
fn extend(headers: &mut HeaderMap, fields: HeaderFields) {
    for (name, value) in fields {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
}

fn insert_amount(headers: &mut HeaderMap, name: HeaderName, amount: Usd) {
    extend(headers, vec![(name.as_str().to_owned(), amount.to_string().replace('$', ""))]);
}

/// Rounds up to whole seconds, because a client that retries too early is refused again.
fn seconds_up(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_of_vendor_refusing_key_is_502() {
        for kind in [ErrorKind::Authentication, ErrorKind::PermissionDenied] {
            let error = Error::new(kind, "Incorrect API key sk-…").with_status(401);
            assert_eq!(status(&error), StatusCode::BAD_GATEWAY);
            assert!(!message(&error).contains("key"));
            assert_eq!(error_headers(&error)[SHOULD_RETRY], "false");
        }
    }

    #[test]
    fn http_leaves_out_invalid_header() {
        let error = Error::invalid("odd").with_header_fields(|_| {
            vec![("x y".into(), "1".into()), ("x-bad".into(), "a\nb".into()), ("x-good".into(), "1".into())]
        });
        let headers = error_headers(&error);
        assert_eq!((headers.len(), &headers["x-good"]), (2, &HeaderValue::from(1)));
    }

    #[test]
    fn retry_after_is_rounded_up() {
        for (millis, seconds) in [(0, 0), (1, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(seconds_up(Duration::from_millis(millis)), seconds);
        }
    }
}
