//! Freshness of entries. Callers pass the current time.
//!
//! | time past expiry | verdict, if the call does not bound the age |
//! |---|---|
//! | none | fresh |
//! | below `revalidate` | served, and replaced in the background |
//! | below `max_stale` of the call and of the operator | served as stale |
//! | below `stale_if_error` | a call is sent, and the entry is served if the call fails |
//! | below `max_stale` or `revalidate` of the cache | too old for this call, kept for others |
//! | more | expired, and evicted |

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, SystemTime},
};

use llm_core::{Call, Operation};

use crate::{Directive, Stale, store::Expiry};

/// Rule that sets the time to live for the entries of some calls. A call must match all conditions of the rule.
///
/// ```
/// use std::time::Duration;
/// use llm_cache::{Cache, Ttl, TtlRule};
///
/// let day = Duration::from_secs(24 * 3600);
/// let embeddings = TtlRule::new(30 * day).operation("embed");
/// let news = TtlRule::new(Duration::from_secs(15 * 60)).label("feature", "news");
/// let cache = Cache::builder("articles").ttl(Ttl::new(day).rule(embeddings).rule(news)).build()?;
/// # Ok::<_, llm_cache::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TtlRule {
    /// Time to live of the entries of matching calls.
    ttl: Duration,
    /// Name of the operation; `None` matches all operations. `None` likewise matches all values of the other
    /// conditions.
    operation: Option<Arc<str>>,
    model: Option<Arc<str>>,
    tenant: Option<Arc<str>>,
    /// Name and value of a label.
    label: Option<(Arc<str>, Arc<str>)>,
}

/// Time to live of a cache's entries: a default, rules for some calls, and jitter.
///
/// ```
/// use std::time::Duration;
/// use llm_cache::{Cache, Ttl, TtlRule};
///
/// let day = Duration::from_secs(24 * 3600);
/// let ttl = Ttl::new(day).rule(TtlRule::new(30 * day).operation("embed")).jitter(10);
/// let cache = Cache::builder("support").ttl(ttl).build()?;
/// # Ok::<_, llm_cache::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Ttl {
    /// Time to live for calls to which no rule applies; `None` for entries that do not expire.
    pub(crate) default: Option<Duration>,
    /// Rules. The first one that applies to a call decides.
    rules: Vec<TtlRule>,
    /// Largest share by which a time to live is shortened, in percent.
    pub(crate) jitter_percent: u8,
}

/// Freshness settings of one cache.
#[derive(Clone, Debug)]
pub(crate) struct Freshness {
    /// Times to live.
    pub(crate) ttl: Ttl,
    /// Time after expiry for which an entry is served in place of an error.
    pub(crate) stale_if_error: Duration,
    /// Time after expiry for which an entry is served while a call replaces it.
    pub(crate) revalidate: Duration,
    /// Time after expiry for which calls may accept an entry.
    pub(crate) max_stale: Duration,
}

/// Verdict on an entry for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The entry is served. The field is the reason for serving it if it has expired.
    Served(Option<Stale>),
    /// A call is sent. If it fails, the entry is served as stale.
    StaleIfError,
    /// The entry is too old for this call, but not for others.
    TooOld,
    /// No call may use the entry.
    Expired,
}

impl TtlRule {
    /// Creates a rule that matches every call. The other methods add conditions.
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, operation: None, model: None, tenant: None, label: None }
    }

    /// Restricts the rule to the operation of this name, such as `chat` or `embed`.
    pub fn operation(mut self, name: impl Into<Arc<str>>) -> Self {
        self.operation = Some(name.into());
        self
    }

    /// Restricts the rule to this model.
    pub fn model(mut self, model: impl Into<Arc<str>>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Restricts the rule to this tenant.
    pub fn tenant(mut self, tenant: impl Into<Arc<str>>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Restricts the rule to calls with this label.
    pub fn label(mut self, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        self.label = Some((name.into(), value.into()));
        self
    }

    fn conforms<T: Operation>(&self, call: &Call<T>) -> bool {
        let is = |wanted: &Option<Arc<str>>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        is(&self.operation, T::NAME)
            && is(&self.model, call.body.model())
            && is(&self.tenant, &call.tenant)
            && self.label.as_ref().is_none_or(|(name, value)| call.labels.get(name) == Some(&**value))
    }
}

impl Ttl {
    /// Creates a time to live for calls to which no rule applies.
    pub fn new(ttl: Duration) -> Self {
        Self { default: Some(ttl), rules: Vec::new(), jitter_percent: 0 }
    }

    /// Creates an unlimited time to live: entries to which no rule applies stay fresh until they are evicted.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_cache::{Cache, Ttl, TtlRule};
    ///
    /// // Embeddings of one model never change. News do.
    /// let news = TtlRule::new(Duration::from_secs(900)).label("feature", "news");
    /// let cache = Cache::builder("search").ttl(Ttl::unlimited().rule(news)).build()?;
    /// # Ok::<_, llm_cache::BuildError>(())
    /// ```
    pub fn unlimited() -> Self {
        Self { default: None, rules: Vec::new(), jitter_percent: 0 }
    }

    /// Adds a rule. The first rule that applies to a call decides. Rules apply to calls through a
    /// [`CacheLayer`](crate::CacheLayer). The key of [`Cache::get_or_call`](crate::Cache::get_or_call) carries neither
    /// model nor labels, so its entries have the default time to live.
    pub fn rule(mut self, rule: TtlRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Shortens the time to live of each entry by a random share of up to this percentage, so that entries that were
    /// written together do not expire together. None by default.
    pub fn jitter(mut self, percent: u8) -> Self {
        self.jitter_percent = percent;
        self
    }

    /// Returns the times to live of the default and of all rules.
    pub(crate) fn all(&self) -> impl Iterator<Item = Duration> + '_ {
        self.rules.iter().map(|rule| rule.ttl).chain(self.default)
    }
}

impl From<Duration> for Ttl {
    fn from(ttl: Duration) -> Self {
        Self::new(ttl)
    }
}

impl Freshness {
    /// Returns the time to live of a call's response, without jitter; `None` for a response that does not expire.
    pub(crate) fn ttl<T: Operation>(&self, call: &Call<T>, directive: &Directive) -> Option<Duration> {
        let by_rule = || self.ttl.rules.iter().find(|rule| rule.conforms(call)).map(|rule| rule.ttl);
        directive.ttl.or_else(by_rule).or(self.ttl.default)
    }

    /// Returns the time at which a response stored at `now` expires: after its time to live, which is shortened by a
    /// random share of up to `jitter_percent` of it. `None` for a response that does not expire.
    pub(crate) fn fresh_until(&self, now: SystemTime, ttl: Option<Duration>) -> Option<SystemTime> {
        let ttl = ttl?;
        let early = match self.ttl.jitter_percent {
            0 => Duration::ZERO,
            percent => {
                // Each `RandomState` has a different seed, so that its hash of the same value is random.
                let share = u128::from(RandomState::new().hash_one(()) % 1_001) * u128::from(percent);
                Duration::from_nanos(u64::try_from(ttl.as_nanos() * share / 100_000).unwrap_or(u64::MAX))
            }
        };
        now.checked_add(ttl.saturating_sub(early))
    }

    /// Returns the longest time after its expiry for which an entry can be used.
    pub(crate) fn grace(&self) -> Duration {
        self.stale_if_error.max(self.max_stale).max(self.revalidate)
    }

    /// Decides how an entry may be used for one call at the time `now`.
    pub(crate) fn judge(&self, expiry: &Expiry, now: SystemTime, directive: &Directive) -> Verdict {
        // If the clock was set back, the age of the entry is unknown, so the entry counts as expired.
        let Ok(age) = now.duration_since(expiry.stored_at) else { return Verdict::Expired };
        let ended = expiry.fresh_until.filter(|_| !expiry.is_fresh(now));
        let past = ended.and_then(|until| now.duration_since(until).ok());
        let old = directive.max_age.is_some_and(|most| age > most);
        match past {
            None if old && self.stale_if_error.is_zero() => Verdict::TooOld,
            None if old => Verdict::StaleIfError,
            None => Verdict::Served(None),
            Some(past) if past < directive.revalidates_within(self.revalidate) && !old => {
                Verdict::Served(Some(Stale::Revalidating))
            }
            Some(past) if !old && directive.max_stale.is_some_and(|by| past < by) && past < self.max_stale => {
                Verdict::Served(Some(Stale::Allowed))
            }
            Some(past) if past < self.stale_if_error => Verdict::StaleIfError,
            Some(past) if past < self.max_stale.max(self.revalidate) => Verdict::TooOld,
            Some(_) => Verdict::Expired,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llm_core::ChatRequest;

    const HOUR: Duration = Duration::from_secs(3600);
    const NOON: SystemTime = SystemTime::UNIX_EPOCH;
    const FRESH: Verdict = Verdict::Served(None);
    const ALLOWED: Verdict = Verdict::Served(Some(Stale::Allowed));
    const REVALIDATING: Verdict = Verdict::Served(Some(Stale::Revalidating));

    fn freshness() -> Freshness {
        Freshness { ttl: Ttl::new(HOUR), stale_if_error: HOUR / 2, revalidate: Duration::ZERO, max_stale: HOUR }
    }

    fn expiry(stored_at: SystemTime) -> Expiry {
        Expiry { stored_at, fresh_until: Some(stored_at + HOUR) }
    }

    #[test]
    fn ttl_of_directive_precedes_first_matching_rule() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let freshness = Freshness {
            ttl: Ttl::new(HOUR)
                .rule(TtlRule::new(minutes(15)).label("feature", "news"))
                .rule(TtlRule::new(minutes(1)).operation("embed"))
                .rule(TtlRule::new(minutes(2)).model("m").tenant("acme")),
            ..freshness()
        };
        let call = |tenant: &str| Call::new(tenant, ChatRequest::new("m").user("x"));
        let ttl = |call| freshness.ttl(&call, &Directive::new());
        assert_eq!(ttl(call("acme").with_label("feature", "news").unwrap()), Some(minutes(15)));
        assert_eq!(ttl(call("acme")), Some(minutes(2)));
        assert_eq!(ttl(call("umbrella")), Some(HOUR));
        assert_eq!(freshness.ttl(&call("acme"), &Directive::new().ttl(minutes(9))), Some(minutes(9)));
    }

    #[test]
    fn freshness_ends_in_stale_then_expired() {
        let judge = |after, directive| freshness().judge(&expiry(NOON), NOON + after, &directive);
        let plain = Directive::new;
        assert_eq!(judge(HOUR - Duration::from_nanos(1), plain()), FRESH);
        assert_eq!(judge(HOUR, plain()), Verdict::StaleIfError);
        assert_eq!(judge(HOUR * 3 / 2, plain()), Verdict::TooOld);
        assert_eq!(judge(HOUR * 2, plain()), Verdict::Expired);
        let set_back = freshness().judge(&expiry(NOON + HOUR), NOON, &plain());
        assert_eq!(set_back, Verdict::Expired);
        assert_eq!(judge(HOUR * 3 / 2, plain().max_stale(HOUR)), ALLOWED);
        assert_eq!(judge(HOUR * 3 / 2, plain().max_stale(HOUR / 4)), Verdict::TooOld);
        assert_eq!(
            judge(HOUR / 2, plain().max_age(HOUR / 4)),
            Verdict::StaleIfError,
            "as it will be when its time is over"
        );
        assert_eq!(judge(HOUR / 2, plain().max_age(HOUR / 2)), FRESH);
    }

    #[test]
    fn revalidate_needs_call_that_accepts_stale() {
        let freshness = Freshness { revalidate: HOUR / 4, ..freshness() };
        let judge = |after, directive| freshness.judge(&expiry(NOON), NOON + after, &directive);
        let plain = Directive::new;
        assert_eq!(judge(HOUR, plain()), REVALIDATING);
        assert_eq!(judge(HOUR * 5 / 4, plain()), Verdict::StaleIfError);
        assert_eq!(judge(HOUR, plain().max_age(HOUR * 9)), Verdict::StaleIfError);
        assert_eq!(judge(HOUR, plain().max_age(HOUR * 9).max_stale(HOUR)), REVALIDATING);
        assert_eq!(judge(HOUR, plain().max_age(HOUR / 2).max_stale(HOUR)), Verdict::StaleIfError);
        assert_eq!(judge(HOUR * 9 / 8, plain().max_stale(HOUR / 16)), Verdict::StaleIfError);
        assert_eq!(judge(HOUR * 11 / 8, plain().max_stale(HOUR)), ALLOWED);
        assert_eq!(judge(HOUR, plain().revalidating()), Verdict::StaleIfError);
    }

    #[test]
    fn ttl_jitter_only_shortens_ttl() {
        let freshness = Freshness { ttl: Ttl::new(HOUR).jitter(10), ..freshness() };
        let ends: Vec<_> = (0..200).filter_map(|_| freshness.fresh_until(NOON, Some(HOUR))).collect();
        assert!(ends.iter().all(|end| (NOON + HOUR * 9 / 10..=NOON + HOUR).contains(end)));
        let distinct: std::collections::HashSet<_> = ends.iter().collect();
        assert!(distinct.len() > 100, "{} different ends", distinct.len());
        assert_eq!(freshness.fresh_until(NOON, None), None);
    }
}
