use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

/// Automatic change of a pool: a member or group was parked (taken out of use) or returned, or the whole pool paused or
/// resumed.
///
/// Each parking and each return causes one event, however often the vendor refuses calls in between.
///
/// ```
/// use std::{sync::mpsc, time::Duration};
/// use llm_keypool::{Event, KeyPool, LeaseRequest, Member, Outcome, Reason};
///
/// let (sender, events) = mpsc::channel();
/// let pool = KeyPool::builder()
///     .member(Member::new("a", "sk-a"))
///     .on_event(move |event: &Event| drop(sender.send(event.clone())))
///     .build()?;
/// pool.try_lease(&LeaseRequest::new("gpt-4o"))?.report(Outcome::status(429, Some(Duration::from_secs(7))));
/// assert!(matches!(events.recv()?, Event::Parked { reason: Reason::RateLimited, .. }));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A part of the pool was parked.
    Parked {
        /// Part that was parked.
        part: Parked,
        /// Reason for the parking.
        reason: Reason,
        /// Time until one call is sent as a probe.
        retry_in: Duration,
    },
    /// A part of the pool takes calls again.
    Returned {
        /// Part that takes calls again.
        part: Parked,
        /// Reason for the parking that ended.
        reason: Reason,
        /// Duration of the parking, including the parkings that directly preceded it.
        away: Duration,
    },
    /// Several groups were refused or unreachable at the same time, so the whole pool pauses.
    Paused {
        /// Time until one call is sent as a probe.
        length: Duration,
    },
    /// The whole pool takes calls again.
    Resumed,
}

/// Part of a pool that is parked: a member, a group, or either for one model.
///
/// | refusal | `member` | `model` |
/// |---|---|---|
/// | a rate limit of the group for a model | `None` | the model |
/// | a rate limit of the whole group, or no money | `None` | `None` |
/// | a wrong key, a breaker, an operator | the member | `None` |
/// | a missing permission for a model | the member | the model |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Parked {
    /// Name of the member; `None` if a whole group is parked.
    pub member: Option<Arc<str>>,
    /// Name of the group.
    pub group: Arc<str>,
    /// Name of the model as the vendor uses it; `None` if all models are parked.
    pub model: Option<Arc<str>>,
}

/// Receiver of the events of a pool. The pool holds no lock while it emits an event, but runs `emit` in the call or the
/// method that caused the event, so `emit` must not block.
///
/// ```
/// use llm_keypool::{Event, KeyPool, Member};
///
/// let pool = KeyPool::builder()
///     .member(Member::new("a", "sk-a"))
///     .on_event(|event: &Event| println!("{event:?}"))
///     .build()?;
/// # let _ = pool;
/// # Ok::<_, llm_keypool::BuildError>(())
/// ```
pub trait Sink: Send + Sync + 'static {
    /// Receives one event. Events of concurrent changes may arrive in any order.
    fn emit(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Sink for F {
    fn emit(&self, event: &Event) {
        self(event);
    }
}

/// Reason why a member or group is parked.
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
    /// The vendor refused a call because of a rate limit (429).
    RateLimited,
    /// The key is wrong, expired or revoked (401).
    Unauthorized,
    /// The account has no money or quota left (402).
    Unpaid,
    /// The key has no permission for the model, or for any model (403).
    Forbidden,
    /// The member does not know the model (404).
    NotFound,
    /// Several attempts failed because of the vendor or the connection, so the member's breaker opened.
    Failing,
    /// Several responses did not arrive in time, so the member's breaker opened.
    TimedOut,
    /// An operator disabled the member.
    Disabled,
}

impl Reason {
    /// Returns the reason in lower case, as in metric labels and event fields.
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

    /// Returns `true` if the reason is an open breaker, after failures or timeouts.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::Failing | Self::TimedOut)
    }
}
