use std::{fmt, ops::Add};

use crate::Usage;

/// Kind of an error, which tells the caller what to do.
///
/// ```
/// use llm_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::ContextTooLong, "the prompt has 200,000 tokens");
/// assert!(matches!(error.kind(), ErrorKind::ContextTooLong) && !error.is_retryable());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request is wrong: change it.
    InvalidRequest,
    /// The request, or the response it asks for, does not fit the model's context: shorten it.
    ContextTooLong,
    /// The vendor's content filter stopped the request or the response.
    ContentFiltered,
    /// This vendor or this stack cannot do what the request asks.
    Unsupported,
    /// The key is wrong, expired or missing.
    Authentication,
    /// The key is valid, but has no permission for this request.
    PermissionDenied,
    /// The vendor does not know the model, or the URL is wrong.
    NotFound,
    /// A vendor's rate limit is reached: wait, then send the request again.
    RateLimited,
    /// The account at the vendor has no money or quota left: waiting does not help.
    QuotaExhausted,
    /// A budget or quota of this application refuses the call.
    OverBudget,
    /// The vendor, or a queue before it, has no capacity now.
    Overloaded,
    /// No member of a key pool can serve the call, and waiting will not help: an operator must act (keys, money,
    /// models).
    Unavailable,
    /// The vendor reported a failure of its own.
    Server,
    /// The connection failed.
    Transport,
    /// The response did not arrive in time.
    Timeout,
    /// The call's own deadline passed.
    DeadlineExceeded,
    /// The response does not follow the protocol: it is not JSON, not UTF-8, or too large.
    Malformed,
    /// The response broke off before its end.
    Incomplete,
    /// The caller, or the call that it waited for, was cancelled.
    Cancelled,
    /// The service was closed.
    Closed,
    /// Another error: see the message and the source.
    Other,
}

impl ErrorKind {
    /// Returns the kind that an HTTP status alone implies. A status that is no error gives `Other`.
    pub(super) fn from_status(status: u16) -> Self {
        match status {
            0..=399 => Self::Other,
            401 => Self::Authentication,
            402 => Self::QuotaExhausted,
            403 => Self::PermissionDenied,
            404 | 405 | 410 => Self::NotFound,
            408 | 504 => Self::Timeout,
            429 => Self::RateLimited,
            498 | 503 | 529 => Self::Overloaded,
            409 | 500.. => Self::Server,
            _ => Self::InvalidRequest,
        }
    }
}

/// Tokens that a failed call may be charged for.
///
/// ```
/// use llm_core::{Charge, Error, ErrorKind, Usage};
///
/// let error = Error::new(ErrorKind::Incomplete, "the stream broke off").with_charge(Charge::Known(Usage::new(900, 12)));
/// assert_eq!(error.charge(), Charge::Known(Usage::new(900, 12)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Charge {
    /// No tokens: the call was not sent, or the vendor refused it.
    #[default]
    None,
    /// The call was sent, and its usage is unknown.
    Unknown,
    /// This number of tokens.
    Known(Usage),
}

/// Adds the charges of two attempts. The sum is unknown if one of the two charges is unknown.
impl Add for Charge {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::None, charge) | (charge, Self::None) => charge,
            (Self::Known(one), Self::Known(other)) => Self::Known(one + other),
        }
    }
}

/// Scope of a vendor's limit: the keys and models that share it.
///
/// ```
/// use llm_core::{Error, ErrorKind, layer::{LimitScope, LimitWindow}};
///
/// let error = Error::new(ErrorKind::RateLimited, "too many requests a day")
///     .with_scope(LimitScope::Model(LimitWindow::Day));
/// assert_eq!(error.scope(), Some(LimitScope::Model(LimitWindow::Day)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitScope {
    /// The limit holds for one key.
    Key(LimitWindow),
    /// The limit holds for one model and all keys of the account.
    Model(LimitWindow),
    /// The limit holds for all keys of one account, organisation or project.
    Group(LimitWindow),
}

/// Time over which a vendor's limit counts, or the kind of a limit that does not count over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitWindow {
    /// Seconds to minutes.
    Minute,
    /// About a day.
    Day,
    /// Money: a balance or a spending limit, which waiting does not restore.
    Money,
    /// This single request is larger than the limit itself.
    Request,
}

impl LimitScope {
    /// Returns the window of the limit.
    pub fn window(self) -> LimitWindow {
        match self {
            Self::Key(window) | Self::Model(window) | Self::Group(window) => window,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidRequest => "invalid request",
            Self::ContextTooLong => "context too long",
            Self::ContentFiltered => "content filtered",
            Self::Unsupported => "unsupported",
            Self::Authentication => "authentication failed",
            Self::PermissionDenied => "permission denied",
            Self::NotFound => "not found",
            Self::RateLimited => "rate limited",
            Self::QuotaExhausted => "quota exhausted",
            Self::OverBudget => "over budget",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::Server => "vendor failure",
            Self::Transport => "connection failure",
            Self::Timeout => "timed out",
            Self::DeadlineExceeded => "deadline exceeded",
            Self::Malformed => "malformed response",
            Self::Incomplete => "incomplete response",
            Self::Cancelled => "cancelled",
            Self::Closed => "closed",
            Self::Other => "error",
        })
    }
}
