//! Directives of calls, and the operator's limits on them.
//!
//! The cache reads directives through [`Directive::of`] only, which applies the limits.

use std::{sync::Arc, time::Duration};

use llm_core::{
    Call, Operation,
    layer::{CallOption, NoFallback, Pinned, Unread},
};

use crate::Tag;

/// Directive of one call to the cache, with HTTP's meaning (RFC 9111, section 5.2.1). It is an option of the call, or
/// an argument of [`Cache::get_or_call_with`](crate::Cache::get_or_call_with):
///
/// ```
/// use std::time::Duration;
/// use llm_cache::Directive;
/// use llm_core::{Call, ChatRequest};
///
/// let call = Call::new("acme", ChatRequest::new("gpt-4o-mini").user("What changed today?"))
///     .with_option(Directive::new().max_age(Duration::from_secs(900)));
/// ```
///
/// In a stack without a [`CacheLayer`](crate::CacheLayer) a client refuses a call with
/// [`only_if_cached`](Self::only_if_cached), and a ledger reports any other directive as a fault of the stack.
///
/// The operator's [`DirectivePolicy`] limits it
/// ([`CacheBuilder::directive_policy`](crate::CacheBuilder::directive_policy)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directive {
    /// True if the call bypasses the cache.
    pub(crate) no_store: bool,
    /// True if a call is sent even if there is an entry. The response of the call is stored.
    pub(crate) no_cache: bool,
    /// True if no call may be sent.
    pub(crate) only_if_cached: bool,
    /// Largest age of an entry that may be served; `None` for any age.
    pub(crate) max_age: Option<Duration>,
    /// Longest time after its expiry for which an entry may be served.
    pub(crate) max_stale: Option<Duration>,
    /// Time to live of the response, if a call is sent.
    pub(crate) ttl: Option<Duration>,
    /// Additional tags of the response.
    pub(crate) tags: Vec<Tag>,
    /// Scope in which the entry is shared between tenants.
    pub(crate) shared: Option<Arc<str>>,
    /// True if the response must come from the requested model.
    pub(crate) no_fallback: bool,
    /// Group or member to which a key pool below must send the call.
    pub(crate) pinned: Option<Pinned>,
}

impl CallOption for Directive {
    fn unread(&self) -> Unread {
        match self {
            Self { only_if_cached: true, .. } => Unread::Refused {
                way_out: "put a llm_cache::CacheLayer above the client, or send it without `Directive::only_if_cached`",
            },
            directive if *directive == Self::default() => Unread::Met,
            _ => Unread::Ineffective,
        }
    }
}

/// Limits on the [`Directive`]s of calls.
///
/// ```
/// use std::time::Duration;
/// use llm_cache::{Cache, DirectivePolicy};
///
/// let hour = Duration::from_secs(3600);
/// let policy = DirectivePolicy::none().no_bypass().max_stale(hour).max_ttl(24 * hour);
/// let cache = Cache::builder("support").directive_policy(policy).build()?;
/// # Ok::<_, llm_cache::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectivePolicy {
    /// True if calls may bypass fresh entries.
    pub(crate) bypass: bool,
    /// Longest time after the expiry of an entry for which calls may accept the entry.
    pub(crate) max_stale: Duration,
    /// Longest time to live that calls may set; `None` for no bound.
    pub(crate) max_ttl: Option<Duration>,
    /// True if calls may share entries across tenants.
    pub(crate) sharing: bool,
}

impl Directive {
    /// Creates a directive with which a call is treated by the defaults of the cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bypasses the cache: the call looks nothing up, joins no other call, and its response is not stored.
    ///
    /// ```
    /// use llm_cache::{Cache, Directive};
    ///
    /// # tokio_test::block_on(async {
    /// let cache = Cache::builder("support").build()?;
    /// let key = cache.key("acme", "greet", "Hello!")?;
    /// let private = Directive::new().no_store();
    /// cache.get_or_call_with(&key, &private, || async { Ok::<_, std::io::Error>("Hi.".to_owned()) }).await?;
    /// assert_eq!((cache.stats().bypassed, cache.stats().stored), (1, 0));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn no_store(mut self) -> Self {
        self.no_store = true;
        self
    }

    /// Sends a call even if an entry is stored or an equal call runs, and stores its response.
    ///
    /// ```
    /// use llm_cache::{Cache, Directive};
    /// use llm_core::Origin;
    ///
    /// # tokio_test::block_on(async {
    /// let cache = Cache::builder("support").build()?;
    /// let key = cache.key("acme", "greet", "Hello!")?;
    /// for text in ["Hi.", "Good morning."] {
    ///     let fresh = Directive::new().no_cache();
    ///     cache.get_or_call_with(&key, &fresh, || async move { Ok::<_, std::io::Error>(text.to_owned()) }).await?;
    /// }
    /// let stored = cache.get_or_call(&key, || async { Err::<String, _>(std::io::Error::other("not needed")) }).await?;
    /// assert_eq!(*stored.value, "Good morning.");
    /// assert!(matches!(stored.origin, Origin::Cache { tier: "memory", .. }));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn no_cache(mut self) -> Self {
        self.no_cache = true;
        self
    }

    /// Sends no call, not even in the background. A request without a stored response fails with an error of kind
    /// `NotFound`.
    ///
    /// ```
    /// use llm_cache::{Cache, CacheLayer, Directive};
    /// use llm_core::{Call, ChatRequest, ErrorKind, into_provider};
    /// # use llm_providers::scripted::Scripted;
    ///
    /// # tokio_test::block_on(async {
    /// # let client = Scripted::new();
    /// let cache = Cache::builder("support").build()?;
    /// let provider = into_provider(tower::ServiceBuilder::new().layer(CacheLayer::new(cache)).service(client));
    /// let call = Call::new("acme", ChatRequest::new("gpt-4o-mini").user("Hello!"));
    /// let call = call.with_option(Directive::new().only_if_cached());
    /// assert_eq!(provider.chat(call).await.unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn only_if_cached(mut self) -> Self {
        self.only_if_cached = true;
        self
    }

    /// Accepts entries of at most this age. If there is only an older entry, a call is sent. If that call fails, the
    /// older entry is served and marked as stale, as far as
    /// [`CacheBuilder::stale_if_error`](crate::CacheBuilder::stale_if_error) allows.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Accepts entries for this long after their expiry, as far as [`DirectivePolicy::max_stale`] allows. The reply
    /// reports it ([`Stale::Allowed`](crate::Stale::Allowed)).
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_cache::{Cache, Directive, DirectivePolicy};
    /// use llm_core::ManualClock;
    ///
    /// # tokio_test::block_on(async {
    /// let (hour, clock) = (Duration::from_secs(3600), ManualClock::default());
    /// let policy = DirectivePolicy::none().max_stale(hour);
    /// let cache = Cache::builder("support").ttl(hour).directive_policy(policy).clock(clock.clone()).build()?;
    /// let key = cache.key("acme", "greet", "Hello!")?;
    /// for _ in 0..2 {
    ///     let lenient = Directive::new().max_stale(hour);
    ///     cache.get_or_call_with(&key, &lenient, || async { Ok::<_, std::io::Error>("Hi.".to_owned()) }).await?;
    ///     clock.advance(hour * 3 / 2);
    /// }
    /// assert_eq!((cache.stats().misses, cache.stats().stale), (1, 1));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn max_stale(mut self, by: Duration) -> Self {
        self.max_stale = Some(by);
        self
    }

    /// Sets the time to live of the response, if a call is sent. The directive overrides the rules of
    /// [`Ttl`](crate::Ttl), and [`DirectivePolicy::max_ttl`] limits it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_cache::{Cache, Directive};
    /// use llm_core::ManualClock;
    ///
    /// # tokio_test::block_on(async {
    /// let (minute, clock) = (Duration::from_secs(60), ManualClock::default());
    /// let cache = Cache::builder("news").ttl(60 * minute).clock(clock.clone()).build()?;
    /// let key = cache.key("acme", "weather", "Paris")?;
    /// for _ in 0..2 {
    ///     let short = Directive::new().ttl(minute);
    ///     cache.get_or_call_with(&key, &short, || async { Ok::<_, std::io::Error>("Rain.".to_owned()) }).await?;
    ///     clock.advance(2 * minute);
    /// }
    /// assert_eq!(cache.stats().misses, 2);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Adds a tag to the response, if a call is sent.
    ///
    /// ```
    /// use llm_cache::{Cache, Directive, Tag};
    ///
    /// # tokio_test::block_on(async {
    /// let cache = Cache::builder("tickets").build()?;
    /// let key = cache.key("acme", "summary", "ticket 7")?;
    /// let tagged = Directive::new().tag(Tag::named("ticket-7"));
    /// cache.get_or_call_with(&key, &tagged, || async { Ok::<_, std::io::Error>("Printer.".to_owned()) }).await?;
    /// cache.invalidate(Tag::named("ticket-7")).await?;
    /// cache.get_or_call(&key, || async { Ok::<_, std::io::Error>("Printer, solved.".to_owned()) }).await?;
    /// assert_eq!(cache.stats().misses, 2);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// Shares the entry with the calls of all tenants that name this scope. Running calls are not shared between
    /// tenants. The method has no effect unless the operator allows sharing ([`DirectivePolicy::allow_sharing`]).
    ///
    /// A shared entry has the tags of the call that paid for it. The tag of that call's tenant is among them, so that
    /// invalidating the tenant invalidates the entry.
    pub fn shared(mut self, scope: impl Into<Arc<str>>) -> Self {
        self.shared = Some(scope.into());
        self
    }

    /// Returns the directive for [`Cache::get_or_call_with`](crate::Cache::get_or_call_with). Stale entries are
    /// accepted only if the directive allows them explicitly, and no [`TtlRule`](crate::TtlRule) applies.
    pub(crate) fn without_stack(self, ttl: Option<Duration>) -> Self {
        let ttl = self.ttl.or(ttl).unwrap_or(Duration::MAX);
        Self { ttl: Some(ttl), max_age: Some(self.max_age.unwrap_or(Duration::MAX)), ..self }
    }

    /// Returns the directive of a background call that replaces an entry. The directive accepts fresh entries only.
    pub(crate) fn revalidating(&self) -> Self {
        let Self { ttl, tags, shared, no_fallback, pinned, .. } = self.clone();
        Self { ttl, tags, shared, no_fallback, pinned, max_age: Some(Duration::MAX), ..Self::default() }
    }

    /// Returns the time after its expiry for which an entry may be served while a call replaces it. `most` is the
    /// setting of the cache. A call that bounds the age of entries accepts no stale entry (RFC 9111, section 5.2.1.1).
    pub(crate) fn revalidates_within(&self, most: Duration) -> Duration {
        match (self.max_stale, self.max_age) {
            (Some(by), _) => by.min(most),
            (None, Some(_)) => Duration::ZERO,
            (None, None) => most,
        }
    }

    /// Returns the directive of a call, limited by the policy.
    pub(crate) fn of<T>(call: &Call<T>, policy: &DirectivePolicy) -> Self {
        let mut directive = call.extensions.get::<Self>().map(|wanted| wanted.limited(policy)).unwrap_or_default();
        directive.no_fallback = call.extensions.get::<NoFallback>().is_some();
        directive.pinned = call.extensions.get::<Pinned>().cloned();
        directive
    }

    /// Returns this directive, limited by the policy.
    pub(crate) fn limited(&self, policy: &DirectivePolicy) -> Self {
        Self {
            no_store: self.no_store && policy.bypass,
            no_cache: self.no_cache && policy.bypass,
            max_age: self.max_age.filter(|_| policy.bypass),
            max_stale: self.max_stale.map(|by| by.min(policy.max_stale)),
            ttl: self.ttl.map(|ttl| policy.max_ttl.map_or(ttl, |most| ttl.min(most))),
            shared: self.shared.clone().filter(|_| policy.sharing),
            ..self.clone()
        }
    }
}

impl Tag {
    /// Returns the tags of a call's response: those of the tenant, the model, the labels and the directive.
    pub(crate) fn of<T: Operation>(call: &Call<T>, directive: &Directive) -> Arc<[Self]> {
        let tenant = || Self::of_tenant(&call.tenant);
        let model = (!call.body.model().is_empty()).then(|| Self::of_model(call.body.shared_model()));
        let model = match model {
            // Most calls have only these two tags. The array takes a single allocation.
            Some(model) if call.labels.iter().next().is_none() && directive.tags.is_empty() => {
                return Arc::new([tenant(), model]);
            }
            model => model,
        };
        let labels = call.labels.iter().map(|(name, value)| Self::label(name, value));
        [tenant()].into_iter().chain(model).chain(labels).chain(directive.tags.iter().cloned()).collect()
    }
}

impl DirectivePolicy {
    /// Creates a policy that allows every directive except stale entries ([`max_stale`](Self::max_stale)) and sharing
    /// across tenants ([`allow_sharing`](Self::allow_sharing)).
    pub fn none() -> Self {
        Self { bypass: true, max_stale: Duration::ZERO, max_ttl: None, sharing: false }
    }

    /// Makes `no_store`, `no_cache` and `max_age` have no effect, so that no call bypasses a fresh entry.
    ///
    /// ```
    /// use llm_cache::{Cache, Directive, DirectivePolicy};
    ///
    /// # tokio_test::block_on(async {
    /// let cache = Cache::builder("support").directive_policy(DirectivePolicy::none().no_bypass()).build()?;
    /// let key = cache.key("acme", "greet", "Hello!")?;
    /// for _ in 0..2 {
    ///     let impatient = Directive::new().no_cache();
    ///     cache.get_or_call_with(&key, &impatient, || async { Ok::<_, std::io::Error>("Hi.".to_owned()) }).await?;
    /// }
    /// assert_eq!((cache.stats().misses, cache.stats().hits), (1, 1));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn no_bypass(mut self) -> Self {
        self.bypass = false;
        self
    }

    /// Keeps entries for this long after their expiry, for calls that accept them ([`Directive::max_stale`]). No
    /// directive makes the cache serve an entry that expired longer ago. Zero by default.
    pub fn max_stale(mut self, by: Duration) -> Self {
        self.max_stale = by;
        self
    }

    /// Limits the time to live that calls ask for ([`Directive::ttl`]).
    pub fn max_ttl(mut self, ttl: Duration) -> Self {
        self.max_ttl = Some(ttl);
        self
    }

    /// Lets calls share entries across tenants ([`Directive::shared`]).
    ///
    /// ```
    /// use llm_cache::{Cache, Directive, DirectivePolicy};
    /// use llm_core::{Call, ChatRequest};
    ///
    /// let cache = Cache::builder("faq").directive_policy(DirectivePolicy::none().allow_sharing()).build()?;
    /// let call = Call::new("acme", ChatRequest::new("gpt-4o-mini").user("What is a refund?"))
    ///     .with_option(Directive::new().shared("public questions"));
    /// # Ok::<_, llm_cache::BuildError>(())
    /// ```
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
