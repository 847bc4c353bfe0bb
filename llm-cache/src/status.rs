//! Status of the cache on each reply, as an extension and as a header of RFC 9211.

use std::{fmt, time::Duration};

use llm_core::{Error, Origin, Reply, Usd, layer::Extensions};

use crate::policy::Remembered;

/// Report of how the cache produced a reply. Its `Display` is the value of a `Cache-Status` header of RFC 9211.
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
    /// The response is that of a stored entry.
    Hit {
        /// Tier of the entry: `memory`, `file` or `redis`.
        tier: &'static str,
        /// Age of the entry.
        age: Duration,
        /// Reason for serving an expired entry; `None` for a fresh one.
        stale: Option<Stale>,
    },
    /// A call was sent.
    Miss(Miss),
    /// The response came from a call that was already running.
    Coalesced,
    /// The error came from the negative cache.
    NegativeHit {
        /// Age of the error.
        age: Duration,
    },
    /// No cache has reported a status on the reply or the error.
    Unseen,
}

/// Status that a call would have had without shadow mode, in the extensions of the replies of a cache in shadow mode
/// ([`CacheBuilder::shadow`](crate::CacheBuilder::shadow)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShadowStatus {
    /// Status that the reply would have had.
    pub status: CacheStatus,
    /// List price of the entries that would have been served; `None` if it is unknown, or if none would have been
    /// served.
    pub saves: Option<Usd>,
}

/// Reason for serving an expired entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stale {
    /// The call accepts stale entries.
    Allowed,
    /// A background call replaces the entry. There is no such call if no slot is free, the request must not be sent
    /// twice, or the call accepts only stored responses.
    Revalidating,
    /// The call that should have replaced the entry failed.
    Error,
}

/// Reason for sending a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Miss {
    /// No entry was found. An expired entry may have been removed before.
    Unknown,
    /// The entry had expired, or was invalidated.
    Gone,
    /// The entry was too old for this call.
    TooOld,
    /// Some items of the request had no entry. Calls for them were sent, or were running already.
    Items {
        /// Number of items for which a call was sent.
        sent: u64,
        /// Reason for serving an expired entry for another item; `None` if all served entries are fresh.
        stale: Option<Stale>,
    },
    /// The call demanded a new response ([`Directive::no_cache`](crate::Directive::no_cache)).
    NoCache,
    /// The call bypassed the cache ([`Directive::no_store`](crate::Directive::no_store)).
    NoStore,
    /// The cache is in shadow mode.
    Shadow,
}

impl CacheStatus {
    /// Returns the status of the cache in a reply. If no cache reported a status, it is derived from the origin on the
    /// receipt.
    pub fn of<O>(reply: &Reply<O>) -> Self {
        let status = reply.extensions.get::<Self>().copied();
        status.unwrap_or_else(|| match reply.receipt.origin() {
            Origin::Cache { tier, age } => Self::Hit { tier, age, stale: None },
            Origin::Coalesced => Self::Coalesced,
            _ => Self::Unseen,
        })
    }

    /// Returns the status of the cache for a failed call: [`NegativeHit`](Self::NegativeHit) or
    /// [`Unseen`](Self::Unseen).
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_cache::{Cache, CacheLayer, CacheStatus};
    /// use llm_core::{Call, ChatRequest, Error, ErrorKind, into_provider};
    /// use llm_providers::scripted::{Rule, Scripted};
    ///
    /// # tokio_test::block_on(async {
    /// let vendor = Scripted::new().rule(Rule::fail(Error::new(ErrorKind::InvalidRequest, "no such model")));
    /// let cache = Cache::builder("support").negative_ttl(Duration::from_secs(60)).build()?;
    /// let provider = into_provider(tower::ServiceBuilder::new().layer(CacheLayer::new(cache)).service(vendor));
    /// let call = || Call::new("acme", ChatRequest::new("gpt-0").user("Hello!"));
    /// let (first, second) = (provider.chat(call()).await.unwrap_err(), provider.chat(call()).await.unwrap_err());
    /// assert_eq!(CacheStatus::of_error(&first), CacheStatus::Unseen);
    /// assert!(matches!(CacheStatus::of_error(&second), CacheStatus::NegativeHit { .. }));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn of_error(error: &Error) -> Self {
        Remembered::of(error).map_or(Self::Unseen, |remembered| Self::NegativeHit { age: remembered.age })
    }

    /// Adds the status to a reply's extensions, with the `Cache-Status` header.
    pub(crate) fn insert_into(self, extensions: &mut Extensions) {
        extensions.insert_with_headers(self, |status| vec![("cache-status".to_owned(), status.to_string())]);
    }

    /// Adds the `Cache-Status` header to an error from the negative cache.
    pub(crate) fn add_to_error(error: Error) -> Error {
        error.with_header_fields(|error| vec![("cache-status".to_owned(), Self::of_error(error).to_string())])
    }

    /// Returns the status in one word, for spans.
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

/// Writes the value of a `Cache-Status` header: `hit` if no call was sent, otherwise `fwd` with the reason why a call
/// was sent or awaited.
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
            Self::Miss(Miss::Items { sent, stale: None }) => {
                write!(f, "llm-cache; fwd=partial; detail=\"{sent} items\"")
            }
            Self::Miss(Miss::Items { sent, stale: Some(why) }) => {
                write!(f, "llm-cache; fwd=partial; detail=\"{sent} items, {why}\"")
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
