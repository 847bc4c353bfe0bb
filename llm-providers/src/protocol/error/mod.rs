//! Errors as vendors state them: reading their bodies, and the words that every vendor's classification looks for.

mod body;
mod words;

use http::StatusCode;
use llm_core::{Error, ErrorKind, layer::LimitScope};

pub(crate) use self::body::ErrorBody;
use super::{clean, redact};

/// The kind of an error, and the scope of the limit that was hit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Meaning {
    pub(crate) kind: ErrorKind,
    pub(crate) scope: Option<LimitScope>,
}

impl Meaning {
    /// Returns a meaning without a scope.
    pub(crate) fn plain(kind: ErrorKind) -> Self {
        Self { kind, scope: None }
    }

    /// Whether the vendor did nothing of what was asked, so that an error inside a successful response costs nothing.
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

/// Makes an error of a body and its meaning. `status` is `None` inside a successful response: its client, which knows the
/// secrets, then redacts the message once more.
pub(crate) fn build(body: &ErrorBody, meaning: Meaning, status: Option<StatusCode>, key: Option<&str>) -> Error {
    let message = match (body.message.as_deref().map(str::trim).filter(|message| !message.is_empty()), status) {
        (Some(message), Some(_)) => redact(message, key),
        (Some(message), None) => clean(message, key),
        (None, Some(status)) if status.is_redirection() => {
            format!("the address redirects elsewhere (status {}): set the base URL to where it leads", status.as_u16())
        }
        (None, Some(status)) => format!("the vendor answered with status {} and no message", status.as_u16()),
        (None, None) => "the answer holds an error without a message".to_owned(),
    };
    let mut error = Error::new(meaning.kind, message);
    if let Some(code) = body.name() {
        error = error.with_code(redact(code, key));
    }
    match meaning.scope {
        Some(scope) => error.with_scope(scope),
        None => error,
    }
}

/// Whether waiting may help against an error of this kind.
pub(crate) fn may_pass(kind: ErrorKind) -> bool {
    use ErrorKind::{Overloaded, QuotaExhausted, RateLimited, Server, Timeout};
    matches!(kind, Overloaded | QuotaExhausted | RateLimited | Server | Timeout)
}

/// Adds what the vendor says by `x-should-retry`, but for errors that no repetition cures.
pub(crate) fn with_should_retry(error: Error, again: Option<bool>) -> Error {
    match again {
        Some(again) if !matches!(error.kind(), ErrorKind::QuotaExhausted | ErrorKind::ContextTooLong) => {
            error.with_retryable(again)
        }
        _ => error,
    }
}
