use http::StatusCode;
use llm_core::{Error, ErrorKind, layer::LimitScope};

use super::ErrorBody;
use crate::protocol::{clean, redact};

/// Kind of an error, and scope of the limit that was hit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Classification {
    pub(crate) kind: ErrorKind,
    pub(crate) scope: Option<LimitScope>,
}

impl Classification {
    /// Returns `true` if the vendor did no work, so that such an error inside a successful response costs nothing.
    pub(crate) fn is_refusal(self) -> bool {
        use ErrorKind::{Authentication, ContextTooLong, InvalidRequest, NotFound, Overloaded, PermissionDenied};
        use ErrorKind::{QuotaExhausted, RateLimited};
        matches!(
            self.kind,
            Authentication
                | ContextTooLong
                | InvalidRequest
                | NotFound
                | Overloaded
                | PermissionDenied
                | QuotaExhausted
                | RateLimited
        )
    }
}

/// Creates an error from a body and its classification. `status` is `None` for an error inside a successful response.
/// The client, which knows the secrets, then redacts the message again.
pub(super) fn build(body: &ErrorBody, found: Classification, status: Option<StatusCode>, key: Option<&str>) -> Error {
    let message = match (body.message.as_deref().map(str::trim).filter(|message| !message.is_empty()), status) {
        (Some(message), Some(_)) => redact(message, key),
        (Some(message), None) => clean(message, key),
        (None, Some(status)) if status.is_redirection() => {
            format!("the address redirects elsewhere (status {}): set the base URL to where it leads", status.as_u16())
        }
        (None, Some(status)) => format!("the vendor responded with status {} and no message", status.as_u16()),
        (None, None) => "the response holds an error without a message".to_owned(),
    };
    let mut error = Error::new(found.kind, message);
    if let Some(code) = body.name() {
        error = error.with_code(redact(code, key));
    }
    match found.scope {
        Some(scope) => error.with_scope(scope),
        None => error,
    }
}

/// Returns `true` if waiting may help against this kind of error.
pub(crate) fn may_pass(kind: ErrorKind) -> bool {
    use ErrorKind::{Overloaded, QuotaExhausted, RateLimited, Server, Timeout};
    matches!(kind, Overloaded | QuotaExhausted | RateLimited | Server | Timeout)
}

/// Makes the error retryable or not as `x-should-retry` states, except for errors against which a retry cannot help.
pub(super) fn with_should_retry(error: Error, again: Option<bool>) -> Error {
    match again {
        Some(again) if !matches!(error.kind(), ErrorKind::QuotaExhausted | ErrorKind::ContextTooLong) => {
            error.with_retryable(again)
        }
        _ => error,
    }
}
