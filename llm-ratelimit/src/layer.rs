//! Settings of the tower layer. The service and the path of a call through it are in `service.rs`.

use std::{collections::HashMap, fmt, num::NonZeroU32, sync::Arc};

use crate::{BalancePersister, Estimator, Learned, Limiter, balance_persister::Recorder};

/// Layer that puts a [`Limiter`] in front of a service.
///
/// Services of one layer or its clones share accounts. So do services of layers over clones of one limiter.
///
/// ```
/// use llm_core::{Call, ChatRequest, ErrorKind, into_provider};
/// use llm_providers::{prices, scripted::Scripted};
/// use llm_ratelimit::{Limiter, Plans, RateLimitLayer};
/// use tower::ServiceBuilder;
///
/// # tokio_test::block_on(async {
/// let plans = Plans::uniform(["10/minute", "1 proposal/month", "$3/day in Europe/Berlin"])?;
/// let limiter = Limiter::builder(plans).unit("proposal").prices(prices::openai()).build()?;
/// let stack = ServiceBuilder::new().layer(RateLimitLayer::new(limiter)).service(Scripted::new());
/// let provider = into_provider(stack);
///
/// let call = || Call::new("acme", ChatRequest::new("gpt-4o-mini").user("Draft a proposal for a car park."));
/// provider.chat(call()).await?;
/// let refused = provider.chat(call()).await.unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::OverBudget);
/// assert!(refused.retry_after().is_some());
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone)]
#[must_use]
pub struct RateLimitLayer {
    pub(crate) limiter: Limiter,
    pub(crate) estimator: Arc<dyn Estimator>,
    pub(crate) attempts: Option<NonZeroU32>,
    pub(crate) fallback_models: Arc<Fallbacks>,
    pub(crate) provider: Option<Arc<str>>,
    pub(crate) overrun: OverrunPolicy,
    pub(crate) charge_cache_hits: bool,
    pub(crate) records: Option<Recorder>,
}

/// Fallback models, by the name of the requested model.
type Fallbacks = HashMap<Arc<str>, Arc<[Arc<str>]>>;

/// Policy for a stream that exceeds its reservation when no budget is left to reserve more.
///
/// ```
/// use llm_ratelimit::{Limiter, OverrunPolicy, Plans, RateLimitLayer};
///
/// let limiter = Limiter::builder(Plans::uniform(["100k tokens/day"])?).build()?;
/// let layer = RateLimitLayer::new(limiter).overrun(OverrunPolicy::Truncate);
/// # let _ = layer;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverrunPolicy {
    /// Lets the stream continue to its end. Usage beyond the limit is debt.
    #[default]
    Finish,
    /// Ends the stream as if it had reached its largest number of output tokens
    /// ([`FinishReason::Length`](llm_core::FinishReason::Length)). The caller may use the part that it received, and no
    /// cache stores it.
    Truncate,
    /// Fails the stream ([`ErrorKind::OverBudget`](llm_core::ErrorKind::OverBudget)).
    Abort,
}

impl RateLimitLayer {
    /// Creates a layer over a limiter, with the estimator [`Learned`].
    pub fn new(limiter: Limiter) -> Self {
        let estimator = Arc::new(Learned::new());
        let (attempts, fallback_models, provider, overrun, charge_cache_hits, records) = Default::default();
        Self { limiter, estimator, attempts, fallback_models, provider, overrun, charge_cache_hits, records }
    }

    /// Sets the estimator of the tokens to reserve; [`Learned`] by default. With [`UpperBound`](crate::UpperBound),
    /// budgets are never exceeded.
    pub fn estimator(mut self, estimator: impl Estimator) -> Self {
        self.estimator = Arc::new(estimator);
        self
    }

    /// Reserves the tokens and the money of `most` attempts at once, for a stack below that retries without asking the
    /// permit.
    ///
    /// By default each call has an [`AttemptPermit`](llm_core::layer::AttemptPermit), which a layer that retries must
    /// ask before a further attempt. The limiter then counts the possible cost of the failed attempt, and permits
    /// another attempt only if there is room for it.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use llm_ratelimit::{Limiter, Plans, RateLimitLayer};
    ///
    /// let limiter = Limiter::builder(Plans::uniform(["100k tokens/day"])?).build()?;
    /// let layer = RateLimitLayer::new(limiter).attempts(NonZeroU32::new(3).expect("three is not zero"));
    /// # let _ = layer;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn attempts(mut self, most: NonZeroU32) -> Self {
        self.attempts = Some(most);
        self
    }

    /// Sets the fallback models that the stack below may use in place of `model`. A call for that model reserves the
    /// price of the dearest of them, and settles at the price of the model that answered. A call with
    /// [`NoFallback`](llm_core::layer::NoFallback) in its extensions reserves only the price of its own model. Models
    /// without an entry have no fallbacks.
    ///
    /// ```
    /// use llm_ratelimit::{Limiter, Plans, RateLimitLayer};
    ///
    /// let limiter = Limiter::builder(Plans::uniform(["100k tokens/day"])?).build()?;
    /// let layer = RateLimitLayer::new(limiter)
    ///     .fallback_models("gpt-4o-mini", ["gpt-4o"])
    ///     .fallback_models("gpt-4o", ["claude-sonnet-5", "gemini-2.5-pro"]);
    /// # let _ = layer;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn fallback_models<M: Into<Arc<str>>>(
        mut self,
        model: impl Into<Arc<str>>,
        others: impl IntoIterator<Item = M>,
    ) -> Self {
        let others = others.into_iter().map(Into::into).collect();
        Arc::make_mut(&mut self.fallback_models).insert(model.into(), others);
        self
    }

    /// Sets the provider to which the stack below sends the calls, for limits that count by provider. Only the prices
    /// of this provider then apply.
    ///
    /// ```
    /// use llm_ratelimit::{Limiter, Plans, RateLimitLayer};
    ///
    /// let limiter = Limiter::builder(Plans::uniform(["100/minute per provider"])?).build()?;
    /// let layer = RateLimitLayer::new(limiter).provider("openai");
    /// # let _ = layer;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn provider(mut self, name: impl Into<Arc<str>>) -> Self {
        self.provider = Some(name.into());
        self
    }

    /// Sets the policy for a stream that exceeds its reservation when no budget is left to reserve more.
    pub fn overrun(mut self, what: OverrunPolicy) -> Self {
        self.overrun = what;
        self
    }

    /// Counts the tokens and the list price of responses for which the call did not pay, because they were stored or
    /// shared. By default such a call counts as a request, with its units, but takes no tokens and no money.
    pub fn charge_cache_hits(mut self) -> Self {
        self.charge_cache_hits = true;
        self
    }

    /// Sends a call only after its reservation has been written to the persister's store, so that the store includes
    /// every sent call even if the process is killed. Each call that counts in calendar windows waits for a write to
    /// the disk, which calls at the same time share. If the write takes longer than the persister's
    /// [`within`](crate::BalancePersisterBuilder::within), or the persister is closed, the call is refused
    /// ([`Reason::Unrecorded`](crate::Reason)).
    ///
    /// Further attempts, and amounts that a stream reserves later, are written as other changes are, after a short
    /// time. Set [`attempts`](Self::attempts) to have all attempts written first. A limiter in shadow mode does not
    /// wait for writes.
    ///
    /// ```
    /// use llm_ratelimit::{BalancePersister, Limiter, Plans, RateLimitLayer, Store};
    ///
    /// let limiter = Limiter::builder(Plans::uniform(["5/month"])?).build()?;
    /// let persister = BalancePersister::builder(Store::open("memory:")?).start(&limiter)?;
    /// let layer = RateLimitLayer::new(limiter).durable_reservations(&persister);
    /// # let _ = layer;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn durable_reservations(mut self, persister: &BalancePersister) -> Self {
        self.records = Some(persister.recorder());
        self
    }
}

impl fmt::Debug for RateLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer").field("limiter", &self.limiter).finish_non_exhaustive()
    }
}
