use std::{fmt, time::Duration};

use llm_core::{Error, Origin, Reply, Usd};

use crate::negative_cache::Remembered;

/// How a cache took part in a reply. Prints as the value of an RFC 9211 `Cache-Status` header.
///
/// ```
/// # use llm_core::{Receipt, Reply};
/// # let reply = Reply::new((), Receipt::default());
/// use llm_cache::CacheStatus;
///
/// let status = CacheStatus::of(&reply);
/// println!("Cache-Status: {status}");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheStatus {
    /// The answer was stored.
    Hit {
        /// The tier that had it.
        tier: &'static str,
        /// How long ago it was stored.
        age: Duration,
        /// Why it was served past its time, if it was.
        stale: Option<Stale>,
    },
    /// A call was made.
    Miss(Miss),
    /// A call that was running already brought the answer.
    Coalesced,
    /// The question had been refused a short time ago, and so was refused again.
    NegativeHit {
        /// How long ago.
        age: Duration,
    },
    /// No cache saw the call.
    Unseen,
}

/// What a cache that only observes would have done: in the extensions of the replies that it lets pass
/// ([`CacheBuilder::shadow`](crate::CacheBuilder::shadow)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShadowStatus {
    /// How it would have taken part.
    pub status: CacheStatus,
    /// List price of the stored answers that it would have served; `None` while unknown, and where it would have served
    /// none.
    pub saves: Option<Usd>,
}

/// Why an answer was served past its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stale {
    /// The call allowed it.
    Allowed,
    /// It is being replaced in the background, if there is room, and unless its question may not be asked twice or the call
    /// wanted none made.
    Revalidating,
    /// The call that was to replace it failed.
    Error,
}

/// Why a call was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Miss {
    /// Nothing was stored, as far as is known: a store may have let go of what was past its time.
    Unknown,
    /// What was stored was past its time, or invalidated.
    Gone,
    /// What was stored was too old for this call.
    TooOld,
    /// Some items of the request were not stored, and were asked for or awaited.
    Items {
        /// How many were asked for.
        asked: u64,
        /// Why others were served past their time, if they were.
        stale: Option<Stale>,
    },
    /// The call wanted a new answer.
    NoCache,
    /// The call wanted the cache to keep out of it.
    NoStore,
    /// The cache only observes.
    Shadow,
}

impl CacheStatus {
    /// How a cache took part in a reply.
    pub fn of<O>(reply: &Reply<O>) -> Self {
        let status = reply.extensions.get::<Self>().copied();
        status.unwrap_or_else(|| match reply.receipt.origin() {
            Origin::Cache { tier, age } => Self::Hit { tier, age, stale: None },
            Origin::Coalesced => Self::Coalesced,
            _ => Self::Unseen,
        })
    }

    /// How a cache took part in a failure: [`NegativeHit`](Self::Refused), or unseen.
    pub fn of_error(error: &Error) -> Self {
        Remembered::of(error).map_or(Self::Unseen, |remembered| Self::NegativeHit { age: remembered.age })
    }

    /// The status in one word, for traces.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Hit { stale: None, .. } => "hit",
            Self::Hit { stale: Some(_), .. } => "stale",
            Self::Miss(Miss::NoCache | Miss::NoStore | Miss::Shadow) => "bypass",
            Self::Miss(_) => "miss",
            Self::Coalesced => "coalesced",
            Self::NegativeHit { .. } => "negative",
            Self::Unseen => "unseen",
        }
    }
}

/// Whoever was answered without a call has a `hit`; where a call was made, or was being made, `fwd` says why.
impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit { tier, age, stale } => {
                let how = if let Some(Stale::Error) = stale { "fwd=stale" } else { "hit" };
                write!(f, "llm-cache; {how}; detail=\"{tier}, {} s old", age.as_secs())?;
                stale.map_or(Ok(()), |why| write!(f, ", {why}"))?;
                f.write_str("\"")
            }
            Self::NegativeHit { age } => write!(f, "llm-cache; hit; detail=\"negative, {} s ago\"", age.as_secs()),
            Self::Coalesced => f.write_str("llm-cache; fwd=miss; collapsed"),
            Self::Miss(Miss::Unknown) => f.write_str("llm-cache; fwd=uri-miss"),
            Self::Miss(Miss::Gone) => f.write_str("llm-cache; fwd=stale"),
            Self::Miss(Miss::Items { asked, stale: None }) => {
                write!(f, "llm-cache; fwd=partial; detail=\"{asked} items\"")
            }
            Self::Miss(Miss::Items { asked, stale: Some(why) }) => {
                write!(f, "llm-cache; fwd=partial; detail=\"{asked} items, {why}\"")
            }
            Self::Miss(Miss::TooOld) => f.write_str("llm-cache; fwd=request; detail=too-old"),
            Self::Miss(Miss::NoCache) => f.write_str("llm-cache; fwd=request; detail=no-cache"),
            Self::Miss(Miss::NoStore) => f.write_str("llm-cache; fwd=bypass; detail=no-store"),
            Self::Miss(Miss::Shadow) => f.write_str("llm-cache; fwd=bypass; detail=shadow"),
            Self::Unseen => f.write_str("llm-cache; fwd=bypass; detail=unseen"),
        }
    }
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allowed => "stale: allowed",
            Self::Revalidating => "stale: revalidating",
            Self::Error => "stale: the call failed",
        })
    }
}
