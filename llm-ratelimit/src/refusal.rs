//! Refusals as data. Texts and errors are built when they are read.

use std::{fmt, time::Duration};

use llm_core::{Error, ErrorKind, price::UnknownCost};

use crate::{Limit, LimitStatuses, NoRuntime, blocked::Blocked, counter::Wait, limit_status::Reset};

/// Refusal of a call, as data. When it becomes an [`Error`], it is the source of that error, where [`Refusal::of`]
/// finds it.
///
/// Refusing a call that has up to four limits allocates nothing, because the texts of the refusal and of its error are
/// built when they are read.
///
/// ```
/// use llm_ratelimit::{Demand, Limiter, Plans, Reason};
///
/// let limiter = Limiter::builder(Plans::uniform(["1 concurrent"])?).build()?;
/// let running = limiter.try_reserve(&Demand::new("acme", "gpt-4o-mini"))?;
/// let refusal = limiter.try_reserve(&Demand::new("acme", "gpt-4o-mini")).unwrap_err();
/// assert_eq!(refusal.reason(), Reason::UsedUp);
/// assert_eq!(refusal.to_string(), "the limit 1 concurrent per tenant is used up");
/// # drop(running);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    pub(crate) blocked: Option<Blocked>,
    pub(crate) cause: Option<Box<Cause>>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) statuses: LimitStatuses,
}

/// Details of a refusal that its reason does not contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Reason why the cost of the call is unknown.
    UnknownCost(UnknownCost),
    /// Error of the Redis server, or of the connection to it.
    #[cfg(feature = "redis")]
    Outage(Box<str>),
}

/// Reason of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A limit is used up for now.
    UsedUp,
    /// The call needs more than a limit can ever admit at once.
    TooLarge,
    /// The call's tokens have no bound, so they may exceed a limit: see [`UpperBound`](crate::UpperBound).
    Unbounded,
    /// Too many calls wait.
    QueueFull,
    /// There will be no room before the call's deadline or within the longest wait.
    TooLate,
    /// A limit counts money, and the cost of the call is unknown.
    Unpriced,
    /// The stated cost is negative.
    Negative,
    /// An operator sheds such calls.
    Shed,
    /// An operator allows only stored responses.
    CacheOnly,
    /// The reservation cannot be written to the store now: see [`BalancePersister`](crate::BalancePersister).
    Unrecorded,
    /// Redis cannot be reached or returned an error, and the outage policy refuses calls.
    Unavailable,
    /// Too many decisions are in flight on the connection to Redis.
    Busy,
    /// The decision needs a round trip: see [`Limiter::reserve`](crate::Limiter::reserve).
    Remote,
    /// The limiter is closed.
    Closed,
    /// The call would have to wait, but there is no tokio runtime with timers: see [`NoRuntime`].
    NoRuntime,
}

impl Refusal {
    #[inline]
    pub(crate) fn new(reason: Reason, statuses: LimitStatuses) -> Self {
        Self::blocked(reason, None, None, statuses)
    }

    /// Creates a refusal that names the blocking limit, if there is one.
    #[inline]
    pub(crate) fn blocked(
        reason: Reason,
        blocked: Option<Blocked>,
        retry_after: Option<Duration>,
        statuses: LimitStatuses,
    ) -> Self {
        Self { reason, blocked, cause: None, retry_after, statuses }
    }

    /// Removes the statuses, for callers who must not see the limits of other tenants.
    pub(crate) fn without_statuses(self) -> Self {
        Self { statuses: self.statuses.retain(|_| false), ..self }
    }

    /// Returns `true` if there may be room later, so that the call may wait.
    pub(crate) fn may_wait(&self) -> bool {
        matches!(self.blocked, Some(Blocked { account_ref: Some(_), wait: Wait::Nanos(_) | Wait::Unknown, .. }))
    }

    /// Adds the reason why the cost of the call is unknown.
    pub(crate) fn with_unknown_cost(self, cause: UnknownCost) -> Self {
        Self { cause: Some(Box::new(Cause::UnknownCost(cause))), ..self }
    }

    pub(crate) fn because(self, reason: Reason) -> Self {
        Self { reason, ..self }
    }

    /// Returns the refusal that is the source of an error; `None` if there is none.
    pub fn of(error: &Error) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }

    /// Returns the reason of the refusal.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the limit that blocked the call; `None` if the call was refused for a reason other than a lack of room.
    /// Of several such limits, returns the one with the longest waiting time.
    pub fn limit(&self) -> Option<&Limit> {
        let Blocked { group, rule, .. } = self.blocked?;
        let rules = &self.statuses.plan().groups[usize::from(group)].rules;
        rules.get(usize::from(rule.unwrap_or(0))).map(|rule| &*rule.limit)
    }

    /// Returns the name of the tenant's plan.
    pub fn plan(&self) -> &str {
        &self.statuses.plan().name
    }

    /// Returns the time until the call would fit if no other call came before. If only waiting calls block the call,
    /// the result includes the time until these have been served. `None` if the time depends on running calls (for a
    /// limit on concurrent calls), or if the call never fits.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the reason why the cost of the call is unknown; `None` if it is known.
    pub fn unknown_cost(&self) -> Option<&UnknownCost> {
        match self.cause.as_deref()? {
            Cause::UnknownCost(cause) => Some(cause),
            #[cfg(feature = "redis")]
            Cause::Outage(_) => None,
        }
    }

    /// Returns the error of the Redis server, or of the connection to it, behind [`Reason::Unavailable`].
    #[cfg(feature = "redis")]
    pub fn outage(&self) -> Option<&str> {
        match self.cause.as_deref()? {
            Cause::Outage(error) => Some(error),
            Cause::UnknownCost(_) => None,
        }
    }

    /// Returns the status of all limits of the call.
    pub fn limit_statuses(&self) -> &LimitStatuses {
        &self.statuses
    }
}

impl Reason {
    /// Returns the reason in one word, for metrics and error codes.
    pub fn name(self) -> &'static str {
        match self {
            Self::UsedUp => "used_up",
            Self::TooLarge => "too_large",
            Self::Unbounded => "unbounded",
            Self::QueueFull => "queue_full",
            Self::TooLate => "too_late",
            Self::Unpriced => "unpriced",
            Self::Negative => "negative",
            Self::Shed => "shed",
            Self::CacheOnly => "cache_only",
            Self::Unrecorded => "unrecorded",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::Remote => "remote",
            Self::Closed => "closed",
            Self::NoRuntime => "no_runtime",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit().map_or_else(|| "a limit".to_owned(), |limit| format!("the limit {limit}"));
        match self.reason {
            Reason::UsedUp => write!(f, "{limit} is used up")?,
            Reason::TooLarge => write!(f, "the call takes more than {limit} ever allows at once: make it smaller")?,
            Reason::Unbounded => write!(
                f,
                "nothing bounds what the call takes of {limit}: leave out images, files and the vendor's own tools, or state \
                 a bound for them"
            )?,
            Reason::QueueFull => write!(f, "{limit} is used up and too many calls wait for it")?,
            Reason::TooLate => write!(f, "{limit} has no room for the call in time")?,
            Reason::Unpriced => {
                f.write_str("a limit counts money by the table given to .prices(…): ")?;
                match self.unknown_cost() {
                    Some(cause) => write!(f, "{cause}")?,
                    None => f.write_str("the call has no known cost")?,
                }
                f.write_str("; or state what unknown models cost with .unknown_price(…)")?;
            }
            Reason::Negative => f.write_str("a call cannot cost less than nothing")?,
            Reason::Shed => f.write_str("calls of this kind are shed for now")?,
            Reason::CacheOnly => f.write_str("only stored responses are served at present")?,
            Reason::Unrecorded => f.write_str("what calls use cannot be recorded for now: look at the store's disk")?,
            Reason::Unavailable => {
                f.write_str("Redis cannot be reached or refuses, and so does a limit of the call")?;
                #[cfg(feature = "redis")]
                if let Some(outage) = self.outage() {
                    write!(f, " ({outage})")?;
                }
                f.write_str(": look at the server, or set another policy with .on_outage(…)")?;
            }
            Reason::Busy => f.write_str(
                "too many decisions wait for Redis: raise max_in_flight of its client, or send fewer calls at a time",
            )?,
            Reason::Remote => {
                f.write_str("the accounts are in Redis, so a decision needs a round trip: use reserve")?
            }
            Reason::Closed => f.write_str("the limiter was closed")?,
            Reason::NoRuntime => write!(f, "the call would have to wait: {NoRuntime}")?,
        }
        match self.retry_after {
            Some(after) => write!(f, "; try again in {}", Reset(after)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Error {
    /// Converts a refusal. Its charge is `Charge::None`, because the call was not sent.
    fn from(refusal: Refusal) -> Self {
        let calendar = refusal.limit().is_some_and(|limit| limit.quota().windows().is_some());
        let kind = match refusal.reason() {
            Reason::UsedUp | Reason::QueueFull | Reason::TooLate if calendar => ErrorKind::OverBudget,
            Reason::UsedUp => ErrorKind::RateLimited,
            Reason::QueueFull | Reason::TooLate => ErrorKind::RateLimited,
            Reason::TooLarge | Reason::Unbounded | Reason::Unpriced => ErrorKind::OverBudget,
            Reason::Negative => ErrorKind::InvalidRequest,
            Reason::Shed | Reason::CacheOnly | Reason::Unrecorded => ErrorKind::Overloaded,
            Reason::Unavailable | Reason::Busy => ErrorKind::Overloaded,
            Reason::Closed => ErrorKind::Closed,
            Reason::NoRuntime | Reason::Remote => ErrorKind::Other,
        };
        let (reason, retry_after) = (refusal.reason(), refusal.retry_after());
        let headers = |error: &Self| Refusal::of(error).map(|refusal| refusal.statuses.headers()).unwrap_or_default();
        let error = Self::from_cause(kind, refusal).with_static_code(reason.name()).with_header_fields(headers);
        match retry_after {
            Some(after) => error.with_retry_after(after),
            None => error,
        }
    }
}
