use serde::{Deserialize, Serialize};

/// Reason why a member or group takes no calls.
///
/// ```
/// use llm_keypool::{KeyPool, LeaseRequest, Member, Outcome, Reason};
///
/// let pool = KeyPool::builder().member(Member::new("a", "sk-a")).build()?;
/// pool.try_lease(&LeaseRequest::new("gpt-4o"))?.report(Outcome::status(401, None));
/// assert_eq!(pool.status().members[0].parked[0].reason, Reason::Unauthorized);
/// # Ok::<_, llm_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// A rate limit (429).
    RateLimited,
    /// The key is wrong, expired or revoked (401).
    Unauthorized,
    /// The account has no money or quota left (402).
    Unpaid,
    /// The key may not use the model, or any (403).
    Forbidden,
    /// The member does not know the model (404).
    NotFound,
    /// Failures of the vendor or the connection in a row.
    Failing,
    /// No response in time, several times.
    TimedOut,
    /// An operator disabled it.
    Disabled,
}

impl Reason {
    /// Returns the reason as a word of small letters, as labels of metrics and fields of events have it.
    ///
    /// ```
    /// assert_eq!(llm_keypool::Reason::RateLimited.as_str(), "rate_limited");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Unauthorized => "unauthorized",
            Self::Unpaid => "unpaid",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Failing => "failing",
            Self::TimedOut => "timed_out",
            Self::Disabled => "disabled",
        }
    }

    /// Returns `true` if the vendor or the connection failed.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::Failing | Self::TimedOut)
    }
}
