//! Faults of the simulated vendor.

use bytes::Bytes;
use http::{Response, StatusCode};
use std::num::NonZeroUsize;
use std::time::Duration;

/// Fault that the vendor injects into a response, by a [`Rule`](crate::Rule).
///
/// Calls that end with a refusal, a page or a reset are not billed. The other faults corrupt a generated response, which is
/// billed as far as it was generated.
///
/// # Example
///
/// ```
/// use llm_testkit::{Fault, Rule, Vendor};
///
/// let vendor = Vendor::new();
/// vendor.script(Rule::new(Fault::status(http::StatusCode::BAD_GATEWAY, "no upstream")).once());
/// vendor.script(Rule::new(Fault::CutAfter(2)).prompt_contains("invoice"));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// The response is a 429.
    RateLimited {
        /// Waiting time that the response states.
        retry_after: Duration,
        /// Form in which the response states the waiting time.
        form: RetryForm,
        /// The error's `code`: `rate_limit_exceeded`, `insufficient_quota`, `slow_down` and so on. Anthropic's format
        /// states it as `details.error_code` (none, `enforced_spend_limit_reached`, `ramp_limit_exceeded`), Gemini's as
        /// a `quotaId` (per minute, per day). A code that these formats do not know is stated unchanged.
        code: String,
    },
    /// The response is a bare 429 in plain text, without limits, waiting time and error code, as from a proxy in front
    /// of the vendor.
    Throttled,
    /// The vendor refuses the call, in its own format.
    Refused(RefusalKind),
    /// A filter blocks the content. The response is empty and has the format's finish reason (`content_filter`,
    /// `refusal`), states a blocked prompt in Gemini's format, or is a 400 from Azure. The prompt is billed, except for
    /// the 400.
    Filtered,
    /// The response is this one, with the vendor's headers added unless it has headers of the same names.
    Response(Box<Response<Bytes>>),
    /// The response is an HTML page with status 200, as a proxy between client and vendor might send.
    Html,
    /// The response grows by this many bytes: a stream by one event with that much text, any other response by white
    /// space in its JSON.
    HugeEvent(usize),
    /// A string in the response contains bytes that are not UTF-8.
    InvalidUtf8,
    /// The arguments of a tool call are not JSON. The fault has no effect if the response calls no tool.
    InvalidToolJson,
    /// The JSON of the response is cut off in its middle. In a stream, the JSON of one event near the middle is cut
    /// off.
    TruncatedJson,
    /// The connection is closed after this many frames of the body. A body that is not streamed is sent in up to eight
    /// frames.
    CutAfter(usize),
    /// The vendor sends nothing after this many frames of the body, and keeps the connection open. The body has frames
    /// as in [`CutAfter`](Self::CutAfter).
    StallAfter(usize),
    /// The vendor accepts the request and never sends a response.
    NoResponse,
    /// The connection is closed instead of a response.
    Reset,
    /// A stream carries an error in its format's form after this many events and ends; any other response is a 200 with
    /// an error as its body, and is not billed.
    ErrorEvent {
        /// Number of events before the error.
        after: usize,
    },
    /// In place of its first token, a stream contains this refusal and ends, after the events that come before the
    /// first token (the chunk with the role, `message_start`). Any other response is a 200 with the refusal as its
    /// body. The call is not billed.
    RefusedInStream(RefusalKind),
    /// A stream ends without its last event: `[DONE]`, `message_stop`, the chunk with a `finishReason`.
    NoDone,
    /// The response does not state its usage. The call is billed all the same.
    NoUsage,
    /// The head and all frames of the response are delayed by this time.
    Slow(Duration),
    /// The body arrives in frames of this many bytes, regardless of the boundaries of events and characters.
    Shred(NonZeroUsize),
}

/// Kind of a refusal that a fault injects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalKind {
    /// The vendor is overloaded (503, or 529 in Anthropic's format).
    Overloaded,
    /// The vendor failed (500).
    ServerError,
    /// The prompt is longer than the model's context (400).
    ContextTooLong,
    /// The key has no permission (403).
    Forbidden,
    /// The model does not exist, or the key may not use it (404, which some vendors send in place of a 403).
    NoAccess,
    /// The balance is used up (402, OpenAI's 429 with `credit_balance_exhausted`, or Gemini's 429 per day).
    NoCredit,
}

/// Form in which a 429 states the time until a retry.
///
/// Gemini's format states it in the body as `RetryInfo`, in every form but [`Silent`](Self::Silent).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryForm {
    /// `retry-after` in whole seconds, rounded up.
    Seconds,
    /// `retry-after` as an HTTP date, by the vendor's wall clock, rounded up to a second.
    HttpDate,
    /// `retry-after-ms` alone.
    Millis,
    /// `retry-after` in seconds and `retry-after-ms`.
    Both,
    /// No statement of a waiting time.
    Silent,
}

impl Fault {
    /// Creates a 429 with code `rate_limit_exceeded` and a waiting time in the given form.
    pub fn rate_limited(retry_after: Duration, form: RetryForm) -> Self {
        Self::RateLimited { retry_after, form, code: "rate_limit_exceeded".into() }
    }

    /// Creates a 429 with code `insufficient_quota`, for which waiting does not help.
    pub fn insufficient_quota() -> Self {
        Self::RateLimited { retry_after: Duration::ZERO, form: RetryForm::Silent, code: "insufficient_quota".into() }
    }

    /// Creates a 429 of a limit per day, with the waiting time `retry_after`. Gemini's format names a quota per day,
    /// and OpenAI's a limit with this waiting time.
    pub fn day_limited(retry_after: Duration) -> Self {
        Self::RateLimited { retry_after, form: RetryForm::Seconds, code: "requests_per_day".into() }
    }

    /// Creates a response with this status and body, which is JSON if it begins with a brace, and else plain text.
    pub fn status(status: StatusCode, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let kind = if body.starts_with(b"{") { "application/json" } else { "text/plain; charset=utf-8" };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
        Self::Response(Box::new(response))
    }
}
