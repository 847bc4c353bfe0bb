use std::{fmt, time::Duration};

use llm_core::{Origin, Reply};

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
    /// No cache saw the call.
    Unseen,
}

/// Why an answer was served past its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stale {
    /// The call allowed it.
    Allowed,
    /// The call that was to replace it failed.
    Error,
}

/// Why a call was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Miss {
    /// Nothing was stored, or it was past its time.
    Unknown,
    /// What was stored was too old for this call.
    TooOld,
    /// Some items of the request were not stored, and were asked for.
    Items {
        /// How many.
        asked: u64,
    },
    /// The call wanted a new answer.
    NoCache,
    /// The call wanted the cache to keep out of it.
    NoStore,
}

impl CacheStatus {
    /// How a cache took part in a reply.
    pub fn of<O>(reply: &Reply<O>) -> Self {
        let told = reply.extensions.get::<Self>().copied();
        told.unwrap_or_else(|| match reply.receipt.origin() {
            Origin::Cache { tier, age } => Self::Hit { tier, age, stale: None },
            Origin::Coalesced => Self::Coalesced,
            _ => Self::Unseen,
        })
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit { tier, age, stale } => {
                let served = if stale.is_some() { "; fwd=stale" } else { "; hit" };
                write!(f, "llm-cache{served}; detail={tier}; age={}", age.as_secs())
            }
            Self::Coalesced => f.write_str("llm-cache; fwd=miss; collapsed"),
            Self::Miss(Miss::Unknown) => f.write_str("llm-cache; fwd=uri-miss"),
            Self::Miss(Miss::Items { asked }) => write!(f, "llm-cache; fwd=partial; detail=\"{asked} items\""),
            Self::Miss(Miss::TooOld) => f.write_str("llm-cache; fwd=request"),
            Self::Miss(Miss::NoCache | Miss::NoStore) => f.write_str("llm-cache; fwd=bypass"),
            Self::Unseen => f.write_str("llm-cache; fwd=bypass; detail=unseen"),
        }
    }
}
