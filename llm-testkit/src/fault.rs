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
    /// A 429.
    RateLimited {
        /// Time that the client should wait.
        retry_after: Duration,
        /// Form in which the response states it.
        form: RetryForm,
        /// The error's `code`: `rate_limit_exceeded`, `insufficient_quota`, `slow_down` and so on. Anthropic's format
        /// has `details.error_code` for it (none, `enforced_spend_limit_reached`, `ramp_limit_exceeded`), Gemini's a
        /// `quotaId` (per minute, per day); any other code stands there as it is.
        code: String,
    },
    /// A bare 429 in plain text, as a proxy in front of the vendor sends it: without limits, waiting time and error code.
    Throttled,
    /// A refusal in the vendor's format.
    Refused(RefusalKind),
    /// A filter blocks the content: an empty response with the format's finish reason (`content_filter`,
    /// `refusal`), Gemini's blocked prompt, Azure's 400. All but the last are billed for the prompt.
    Filtered,
    /// Exactly this response, with the vendor's headers under it where it has none of its own.
    Response(Box<Response<Bytes>>),
    /// Status 200 and an HTML page, as a proxy in between would send.
    Html,
    /// The response grows by this many bytes: a stream by one event with that much text, any other by white space in its
    /// JSON.
    HugeEvent(usize),
    /// Bytes inside a string of the response that are not UTF-8.
    InvalidUtf8,
    /// The arguments of a tool call are not JSON. Without effect where the response calls no tool.
    InvalidToolJson,
    /// The response's JSON ends in the middle: the whole body's, or that of one event near the middle of a stream.
    TruncatedJson,
    /// The connection is closed after this many frames of the body. A body that is not streamed is sent in up to eight
    /// frames.
    CutAfter(usize),
    /// Nothing more comes after this many frames of the body, framed as in [`CutAfter`](Self::CutAfter).
    StallAfter(usize),
    /// The request is accepted and never answered.
    NoResponse,
    /// The connection is closed instead of a response.
    Reset,
    /// A stream carries an error in its format's form after this many events and ends; any other response is a 200 with
    /// an error for a body.
    ErrorEvent {
        /// Events before the error.
        after: usize,
    },
    /// A stream carries this refusal in place of its first token, after the events that come before that (the chunk with
    /// the role, `message_start`), and ends; any other response is a 200 with the refusal for a body. It is not billed.
    RefusedInStream(RefusalKind),
    /// A stream ends without its last event: `[DONE]`, `message_stop`, the chunk with a `finishReason`.
    NoDone,
    /// The response does not state its usage. It is billed all the same.
    NoUsage,
    /// The response arrives this much later.
    Slow(Duration),
    /// The body comes in frames of this many bytes, whatever they cut apart.
    Shred(NonZeroUsize),
}

/// Kind of a refusal on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalKind {
    /// 503, Anthropic's 529: come back later.
    Overloaded,
    /// 500.
    ServerError,
    /// 400: the prompt is longer than the model's context.
    ContextTooLong,
    /// 403.
    Forbidden,
    /// 404, which vendors send in place of a 403: the model does not exist, or the key may not use it.
    NoAccess,
    /// The balance is used up: 402, OpenAI's 429 with `credit_balance_exhausted`, Gemini's 429 per day.
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
    /// States no waiting time.
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

    /// Creates a 429 that lasts until the end of the day: Gemini's quota per day, OpenAI's limit with that wait.
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
