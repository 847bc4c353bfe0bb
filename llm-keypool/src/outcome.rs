use std::{sync::Arc, time::Duration};

use llm_core::{
    Error, ErrorKind, Usage,
    layer::{LimitScope, LimitWindow, VendorLimits},
};

/// Outcome of an attempt with a leased key, as the caller's own client received it from the vendor.
///
/// ```
/// use std::time::Duration;
/// use llm_core::Usage;
/// use llm_keypool::Outcome;
///
/// let served = Outcome::success().usage(Usage::new(900, 120));
/// let limited = Outcome::status(429, Some(Duration::from_secs(7)));
/// assert!(served.error().is_none());
/// assert_eq!(limited.error().and_then(|error| error.retry_after()), Some(Duration::from_secs(7)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub(crate) error: Option<Error>,
    pub(crate) usage: Option<Usage>,
    pub(crate) limits: Option<Arc<VendorLimits>>,
}

/// Classification of an error, from which the pool decides if it parks a member or group, and if it sends the call
/// again.
///
/// It follows from the error's kind and scope, unless a function of the application classifies the error
/// ([`KeyPoolBuilder::verdict`](crate::KeyPoolBuilder::verdict)).
///
/// ```
/// use llm_core::{Error, ErrorKind};
/// use llm_keypool::Verdict;
///
/// let error = Error::new(ErrorKind::Authentication, "no such key");
/// assert_eq!(Verdict::of(&error), Verdict::Unauthorized);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// A rate limit of the group for the model (429). The group takes no calls for the model for the time that the
    /// vendor states, or for a backoff if it states none.
    RateLimited,
    /// A rate limit of the group for all models.
    GroupLimited,
    /// A rate limit of the key alone.
    KeyLimited,
    /// The key is wrong (401).
    Unauthorized,
    /// The group has no money (402).
    Unpaid,
    /// The key has no permission for the model (403).
    Forbidden,
    /// The member does not know the model (404).
    NotFound,
    /// The vendor or the connection failed (5xx, 529, a reset, a broken stream).
    Failed,
    /// No response arrived in time.
    TimedOut,
    /// The request or its caller caused the error. The pool returns the error and parks nothing.
    Request,
}

impl Outcome {
    /// Creates the outcome of an attempt that was served.
    pub fn success() -> Self {
        Self::default()
    }

    /// Creates the outcome of an attempt that failed.
    pub fn failed(error: Error) -> Self {
        Self { error: Some(error), ..Self::default() }
    }

    /// Creates the outcome of a response with an HTTP status and a `retry-after` header. A status below 400 is a
    /// success.
    pub fn status(status: u16, retry_after: Option<Duration>) -> Self {
        if status < 400 {
            return Self::success();
        }
        let error = Error::from_status(status);
        Self::failed(match retry_after {
            Some(after) => error.with_retry_after(after),
            None => error,
        })
    }

    /// Sets the usage, so that the pool counts the used input and output tokens instead of the reserved ones.
    #[must_use]
    pub fn usage(self, usage: Usage) -> Self {
        Self { usage: Some(usage), ..self }
    }

    /// Sets the limits that the vendor stated with the response, so that the pool respects them from then on.
    #[must_use]
    pub fn limits(self, limits: impl Into<Arc<VendorLimits>>) -> Self {
        Self { limits: Some(limits.into()), ..self }
    }

    /// Returns the error, if the attempt failed.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Returns the error of a failed attempt. If the outcome is a success, returns an error about the contradiction.
    pub(crate) fn into_error(self) -> Error {
        let error = self.error.unwrap_or_else(|| Error::invalid("the attempt returned an outcome that is no error"));
        match self.limits {
            Some(limits) => error.with_limits(limits),
            None => error,
        }
    }
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        Self::failed(error)
    }
}

impl Verdict {
    /// Classifies an error by its kind. The scope distinguishes rate limits, and an error whose scope is the single
    /// request always is [`Request`](Self::Request).
    pub fn of(error: &Error) -> Self {
        let window = error.scope().map(LimitScope::window);
        match error.kind() {
            _ if window == Some(LimitWindow::Request) => Self::Request,
            ErrorKind::RateLimited => match error.scope() {
                _ if window == Some(LimitWindow::Money) => Self::Unpaid,
                Some(LimitScope::Key(_)) => Self::KeyLimited,
                Some(LimitScope::Group(_)) => Self::GroupLimited,
                _ => Self::RateLimited,
            },
            ErrorKind::QuotaExhausted => Self::Unpaid,
            ErrorKind::Authentication => Self::Unauthorized,
            ErrorKind::PermissionDenied => Self::Forbidden,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Timeout => Self::TimedOut,
            ErrorKind::Overloaded | ErrorKind::Server | ErrorKind::Transport => Self::Failed,
            ErrorKind::Incomplete | ErrorKind::Malformed => Self::Failed,
            _ => Self::Request,
        }
    }

    /// Returns `true` if the refusal costs nothing and concerns a member or group, so that another member may serve the
    /// call.
    pub(crate) fn moves(self) -> bool {
        !matches!(self, Self::Failed | Self::TimedOut | Self::Request)
    }

    /// Returns `true` for a refusal of a key or an account. Its message is not for callers, because it may hold a part of the key.
    pub(crate) fn is_private(self) -> bool {
        matches!(self, Self::Unauthorized | Self::Unpaid | Self::Forbidden)
    }

    /// Returns `true` if the vendor or the connection failed.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_of_status_follows_table() {
        let verdict = |status| Outcome::status(status, None).error().map(Verdict::of);
        for (status, expected) in [
            (200, None),
            (304, None),
            (400, Some(Verdict::Request)),
            (401, Some(Verdict::Unauthorized)),
            (402, Some(Verdict::Unpaid)),
            (403, Some(Verdict::Forbidden)),
            (404, Some(Verdict::NotFound)),
            (408, Some(Verdict::TimedOut)),
            (413, Some(Verdict::Request)),
            (422, Some(Verdict::Request)),
            (429, Some(Verdict::RateLimited)),
            (500, Some(Verdict::Failed)),
            (502, Some(Verdict::Failed)),
            (503, Some(Verdict::Failed)),
            (504, Some(Verdict::TimedOut)),
            (529, Some(Verdict::Failed)),
        ] {
            assert_eq!(verdict(status), expected, "{status}");
        }
    }

    #[test]
    fn verdict_of_scope_beats_kind() {
        let verdict = |scope| Verdict::of(&Error::new(ErrorKind::RateLimited, "no").with_scope(scope));
        assert_eq!(verdict(LimitScope::Group(LimitWindow::Request)), Verdict::Request);
        assert_eq!(verdict(LimitScope::Model(LimitWindow::Money)), Verdict::Unpaid);
        assert_eq!(verdict(LimitScope::Key(LimitWindow::Day)), Verdict::KeyLimited);
        assert_eq!(verdict(LimitScope::Group(LimitWindow::Minute)), Verdict::GroupLimited);
        assert_eq!(verdict(LimitScope::Model(LimitWindow::Minute)), Verdict::RateLimited);
        let error = Error::new(ErrorKind::InvalidRequest, "too large");
        assert_eq!(Verdict::of(&error.with_scope(LimitScope::Group(LimitWindow::Request))), Verdict::Request);
    }
}
