use std::{sync::Arc, time::Duration};

use llm_core::{
    Call,
    layer::{NoFallback, Pinned},
};

use crate::Tag;

/// What one call wants of the cache, with HTTP's meaning (RFC 9111, section 5.2.1). Put it into the call's extensions:
///
/// ```
/// use std::time::Duration;
/// use llm_cache::Directive;
/// use llm_core::{Call, ChatRequest};
///
/// let mut call = Call::new("acme", ChatRequest::new("gpt-4o-mini").user("What changed today?"));
/// call.extensions.insert(Directive::new().max_age(Duration::from_secs(900)));
/// ```
///
/// What the operator of the cache caps ([`CacheBuilder::directive_policy`](crate::CacheBuilder::directive_policy)) is cut down to the cap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directive {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_stale: Option<Duration>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) tags: Vec<Tag>,
    pub(crate) shared: Option<Arc<str>>,
    /// Only the requested model may answer.
    pub(crate) no_fallback: bool,
    /// Where a key pool below must send the call.
    pub(crate) pinned: Option<Pinned>,
}

/// How far calls may go with their [`Directive`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectivePolicy {
    pub(crate) bypass: bool,
    pub(crate) max_stale: Duration,
    pub(crate) max_ttl: Option<Duration>,
    pub(crate) sharing: bool,
}

impl Directive {
    /// Nothing special.
    pub fn new() -> Self {
        Self::default()
    }

    /// The cache keeps out of it: nothing is looked up, shared or stored.
    pub fn no_store(mut self) -> Self {
        self.no_store = true;
        self
    }

    /// A call is made whatever is stored or running; its answer is stored.
    pub fn no_cache(mut self) -> Self {
        self.no_cache = true;
        self
    }

    /// No call is made, in the background either: what is not stored is an error.
    pub fn only_if_cached(mut self) -> Self {
        self.only_if_cached = true;
        self
    }

    /// A stored answer may be at most this old. Should the call that this leads to fail, an older one is served and marked,
    /// as far as [`CacheBuilder::stale_if_error`](crate::CacheBuilder::stale_if_error) goes.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// A stored answer may be past its time by at most this much.
    pub fn max_stale(mut self, by: Duration) -> Self {
        self.max_stale = Some(by);
        self
    }

    /// The answer, if one is bought, is kept for this long, whatever the rules say.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The answer, if one is bought, gets this tag too.
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// The answer is shared with all calls that name this scope, whatever their tenant: looked for there, and stored
    /// there. Their running calls stay apart. Without effect unless the operator allows it
    /// ([`DirectivePolicy::allow_sharing`]).
    ///
    /// A shared answer has the tags of the call that bought it, its tenant's too: dropping that tenant drops it.
    pub fn shared(mut self, scope: impl Into<Arc<str>>) -> Self {
        self.shared = Some(scope.into());
        self
    }

    /// The directive of a call without a stack: it takes fresh entries only, and no [`TtlRule`](crate::TtlRule) applies.
    pub(crate) fn only_fresh(ttl: Option<Duration>) -> Self {
        Self { ttl: Some(ttl.unwrap_or(Duration::MAX)), max_age: Some(Duration::MAX), ..Self::default() }
    }

    /// The directive of a call that replaces an entry: it takes fresh entries only.
    pub(crate) fn revalidating(&self) -> Self {
        let Self { ttl, tags, shared, no_fallback, pinned, .. } = self.clone();
        Self { ttl, tags, shared, no_fallback, pinned, max_age: Some(Duration::MAX), ..Self::default() }
    }

    /// By how much an answer may be past its time while it is being replaced, of what the cache allows. A call that
    /// bounds an answer's age wants it fresh (RFC 9111, section 5.2.1.1).
    pub(crate) fn revalidates_within(&self, most: Duration) -> Duration {
        match (self.max_stale, self.max_age) {
            (Some(by), _) => by.min(most),
            (None, Some(_)) => Duration::ZERO,
            (None, None) => most,
        }
    }

    /// What a call wants, as far as it may.
    pub(crate) fn of<T>(call: &Call<T>, policy: &DirectivePolicy) -> Self {
        let no_fallback = call.extensions.get::<NoFallback>().is_some();
        let pinned = call.extensions.get::<Pinned>().cloned();
        let Some(wanted) = call.extensions.get::<Self>() else {
            return Self { no_fallback, pinned, ..Self::default() };
        };
        Self {
            no_fallback,
            pinned,
            no_store: wanted.no_store && policy.bypass,
            no_cache: wanted.no_cache && policy.bypass,
            only_if_cached: wanted.only_if_cached,
            max_age: wanted.max_age.filter(|_| policy.bypass),
            max_stale: wanted.max_stale.map(|by| by.min(policy.max_stale)),
            ttl: wanted.ttl.map(|ttl| policy.max_ttl.map_or(ttl, |most| ttl.min(most))),
            tags: wanted.tags.clone(),
            shared: wanted.shared.clone().filter(|_| policy.sharing),
        }
    }
}

impl DirectivePolicy {
    /// Allows every directive but stale answers ([`max_stale`](Self::max_stale)) and sharing across tenants
    /// ([`allow_sharing`](Self::allow_sharing)).
    pub fn none() -> Self {
        Self { bypass: true, max_stale: Duration::ZERO, max_ttl: None, sharing: false }
    }

    /// No call may go past a fresh stored answer: `no_store`, `no_cache` and `max_age` have no effect.
    pub fn no_bypass(mut self) -> Self {
        self.bypass = false;
        self
    }

    /// Keeps entries for this long past their time for calls that allow it ([`Directive::max_stale`]). No call gets an answer
    /// that is past its time by more than this. Not at all by default.
    pub fn max_stale(mut self, by: Duration) -> Self {
        self.max_stale = by;
        self
    }

    /// No call may have its answer kept for longer than this.
    pub fn max_ttl(mut self, ttl: Duration) -> Self {
        self.max_ttl = Some(ttl);
        self
    }

    /// Calls may share answers across tenants ([`Directive::shared`]).
    pub fn allow_sharing(mut self) -> Self {
        self.sharing = true;
        self
    }
}

impl Default for DirectivePolicy {
    fn default() -> Self {
        Self::none()
    }
}
