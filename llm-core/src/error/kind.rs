use std::{fmt, ops::Add};

use crate::Usage;

/// Kind of an error, by the remedy that a caller has.
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
    /// The request is wrong; change it.
    InvalidRequest,
    /// The request, or the response it asks for, does not fit the model's context; shorten it.
    ContextTooLong,
    /// The vendor's filter stopped the request or the response.
    ContentFiltered,
    /// This vendor or this stack cannot do what the request asks.
    Unsupported,
    /// The key is wrong, expired or missing.
    Authentication,
    /// The key may not do this.
    PermissionDenied,
    /// No such model, or no such address.
    NotFound,
    /// A rate limit: wait, then try again.
    RateLimited,
    /// The vendor's account has no money or quota left: waiting does not help.
    QuotaExhausted,
    /// A budget or quota of this application refuses the call.
    OverBudget,
    /// The vendor, or a queue before it, has no room now.
    Overloaded,
    /// No member of a key pool can serve the call, and none returns by waiting: an operator must act (keys, money, models).
    Unavailable,
    /// The vendor failed.
    Server,
    /// The connection failed.
    Transport,
    /// No response in time.
    Timeout,
    /// The call's own deadline passed.
    DeadlineExceeded,
    /// The response is not what the protocol says: no JSON, no UTF-8, too large.
    Malformed,
    /// The response broke off before its end.
    Incomplete,
    /// The caller, or what it waited for, went away.
    Cancelled,
    /// The service was closed.
    Closed,
    /// Something else; see the message and the source.
    Other,
}

impl ErrorKind {
    /// Returns the kind that an HTTP status alone implies: `Other` for a status that is no error.
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
    /// No tokens: it was not sent, or the vendor refused it.
    #[default]
    None,
    /// The call was sent, and its usage is unknown.
    Unknown,
    /// This usage.
    Known(Usage),
}

/// Charges of two attempts: unknown if one of them is.
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

/// Scope of a vendor's limit.
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
    /// One key.
    Key(LimitWindow),
    /// One model, for all keys of the account.
    Model(LimitWindow),
    /// All keys of one account, organisation or project.
    Group(LimitWindow),
}

/// Window of a vendor's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitWindow {
    /// Seconds to minutes.
    Minute,
    /// A day.
    Day,
    /// Money: a balance or a spending limit.
    Money,
    /// This one request is larger than the limit itself.
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
