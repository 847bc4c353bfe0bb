//! Public handle of a limiter: it reserves, runs calls, reads statuses, changes plans and closes.
//!
//! It adds nothing of its own to a decision: each method calls [`Inner`], which all clones share, and reports the outcome.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use llm_core::{BoxError, Charge, Error};

use crate::{
    Balance, BuildError, Demand, Dimension, Emergency, Limit, LimitStatuses, NoRuntime, PlanError, Plans, Reason,
    Refusal, Reservation, Settlement, StoreError,
    accounts::Standing,
    inner::{Counts, Inner},
    rules::Rules,
    runtime::timers,
    window::ImportMode,
};

/// Limits and budgets: reserve before a call, settle after it. Clones share its state.
///
/// ```
/// use llm_core::Usage;
/// use llm_ratelimit::{Settlement, Demand, Limiter, Plans};
///
/// # tokio_test::block_on(async {
/// let limiter = Limiter::builder(Plans::uniform(["10/minute", "10k tokens/day"])?).build()?;
/// let reservation = limiter.reserve(&Demand::new("acme", "gpt-4o-mini").tokens(1_000, 500)).await?;
/// // … the call, by whatever client …
/// reservation.settle(Settlement::Used { usage: Usage::new(900, 120), cost: None });
/// let left: Vec<u64> = limiter.usage("acme").await.iter().map(|status| status.remaining).collect();
/// assert_eq!(left, [9, 8_980]);
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Limiter(pub(crate) Arc<Inner>);

/// Statistics of a limiter since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Number of reservations made.
    pub granted: u64,
    /// Number of refused calls. In shadow mode, number of calls that would have been refused.
    pub refused: u64,
    /// Number of calls that waited, whatever their outcome.
    pub waited: u64,
    /// Number of calls that wait at present.
    pub waiting: u64,
    /// Number of accounts: one for each tenant, model, label, … with recent use.
    pub accounts: u64,
    /// Counters of accounts in Redis; zeros without Redis.
    #[cfg(feature = "redis")]
    pub redis: crate::RedisStats,
}

impl Limiter {
    /// Reserves all that a call may take, or nothing. It does not wait, and takes no room for which other calls wait.
    ///
    /// The decision is local: it is made by what this process knows. With accounts in memory that is everything.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], if a limit has no room for the call or the call can never pass: see [`Reason`].
    ///
    /// ```
    /// use llm_ratelimit::{Demand, Limiter, Plans, Reason};
    ///
    /// let limiter = Limiter::builder(Plans::uniform(["1/minute"])?).build()?;
    /// let demand = Demand::new("acme", "gpt-4o-mini");
    /// let reservation = limiter.try_reserve(&demand)?;
    /// assert_eq!(limiter.try_reserve(&demand).unwrap_err().reason(), Reason::UsedUp);
    /// drop(reservation); // it was not sent, so it costs nothing
    /// assert!(limiter.try_reserve(&demand).is_ok());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_reserve(&self, demand: &Demand) -> Result<Reservation, Refusal> {
        self.0.try_reserve(demand)
    }

    /// Reserves more for a running call, at once: waiting calls do not delay it.
    pub(crate) async fn reserve_more(&self, demand: &Demand) -> Result<Reservation, Refusal> {
        let mut outcome = self.0.reserve(demand, Standing::Waited).await;
        self.0.report(&mut outcome);
        outcome
    }

    /// Reserves all that a call may take, waiting for it as long as the builder's [`Waiting`](crate::Waiting), the call's
    /// deadline and the room in the queue allow; without [`Waiting`](crate::Waiting), not at all.
    ///
    /// # Errors
    ///
    /// As [`try_reserve`](Self::try_reserve); at once, where it is known that there will be no room in time
    /// ([`Reason::TooLate`]), where too many calls wait ([`Reason::QueueFull`]), or where the call would wait outside of a
    /// tokio runtime with timers ([`Reason::NoRuntime`]).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has reserved nothing, and its place in the queue is free. A waiting call that is not
    /// polled does not block those behind it: the call that gives room back decides for the first in the queue.
    pub async fn reserve(&self, demand: &Demand) -> Result<Reservation, Refusal> {
        let mut outcome = self.0.reserve_or_wait(demand).await;
        self.0.report(&mut outcome);
        outcome
    }

    /// Runs a call of any client under the limits: reserves, waiting as [`reserve`](Self::reserve) does, calls, and settles
    /// by what the call says it took. A failed call settles by the [charge](llm_core::Charge) of its error; of an error of
    /// another type it is not known, so the whole reservation counts as spent, as that of a call that is dropped.
    ///
    /// ```
    /// use llm_core::Usage;
    /// use llm_ratelimit::{Demand, Limiter, Plans, Settlement};
    ///
    /// # tokio_test::block_on(async {
    /// # async fn ask() -> Result<(String, Usage), std::io::Error> { Ok(("yes".into(), Usage::new(90, 1))) }
    /// let limiter = Limiter::builder(Plans::uniform(["10k tokens/day"])?).build()?;
    /// let demand = Demand::new("acme", "gpt-4o-mini").tokens(1_000, 500);
    /// let response = limiter
    ///     .run(&demand, async || {
    ///         let (response, usage) = ask().await?;
    ///         Ok::<_, std::io::Error>((response, Settlement::Used { usage, cost: None }))
    ///     })
    ///     .await?;
    /// assert_eq!(response, "yes");
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// The call's own made into an [`Error`], or that of a [`Refusal`], which is its source.
    pub async fn run<T, E, F>(&self, demand: &Demand, call: impl FnOnce() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<(T, Settlement), E>>,
        E: Into<BoxError>,
    {
        let mut reservation = self.reserve(demand).await?;
        reservation.mark_sent();
        match call().await {
            Ok((value, settlement)) => {
                reservation.settle(settlement);
                Ok(value)
            }
            Err(error) => {
                let error = Error::from(error.into());
                reservation.settle(match error.charge() {
                    Charge::None => Settlement::Refused,
                    Charge::Unknown => Settlement::Unknown,
                    Charge::Known(usage) => Settlement::Used { usage, cost: None },
                });
                Err(error)
            }
        }
    }

    /// Returns true if a limit of a tenant counts in calendar windows.
    pub(crate) fn counts_windows(&self, tenant: &str) -> bool {
        self.0.rules.read().of(tenant).has_windows()
    }

    /// Returns a refusal for a reason other than a lack of room, and counts it.
    pub(crate) fn refuse(&self, demand: &Demand, reason: Reason) -> Refusal {
        let refusal = self.0.refuse(reason, self.0.rules.read().of(&demand.tenant));
        self.0.refused(&refusal);
        refusal
    }

    /// Returns the status of a call's limits, without reserving anything. There is none while Redis cannot be asked.
    ///
    /// ```
    /// use llm_ratelimit::{Demand, Limiter, Plans};
    ///
    /// # tokio_test::block_on(async {
    /// let limiter = Limiter::builder(Plans::uniform(["10/minute per model"])?).build()?;
    /// let statuses = limiter.limit_statuses(&Demand::new("acme", "gpt-4o-mini")).await;
    /// assert_eq!(statuses.iter().map(|status| status.remaining).collect::<Vec<_>>(), [10]);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub async fn limit_statuses(&self, demand: &Demand) -> LimitStatuses {
        self.0.limit_statuses(demand).await
    }

    /// Returns the status of a tenant's limits that are counted by tenant, by plan or for all tenants. Limits
    /// by model, provider or label need a demand that names those: see [`limit_statuses`](Self::limit_statuses). An
    /// unknown tenant has used nothing.
    pub async fn usage(&self, tenant: &str) -> LimitStatuses {
        let is_broad = |limit: &Limit| {
            let mut dimensions = limit.dimensions().iter();
            limit.scope().filters().is_empty() && dimensions.all(|by| matches!(by, Dimension::Tenant | Dimension::Plan))
        };
        self.limit_statuses(&Demand::new(tenant, "")).await.retain(is_broad)
    }

    /// Returns the name of a tenant's plan; the default plan's if the tenant has no other.
    pub fn plan_of(&self, tenant: &str) -> Arc<str> {
        Arc::clone(&self.0.rules.read().of(tenant).name)
    }

    /// Replaces the plans. Used amounts stay used if a limit still counts the same unit over the same time: if five
    /// proposals a month become fifty and three were used, 47 are left. Waiting calls are decided again.
    /// Calls that run are settled in the limits under which they began; a limit that is new counts the calls that begin
    /// from then on.
    ///
    /// # Errors
    ///
    /// [`BuildError::UnknownUnit`], [`BuildError::NoPrices`] and [`BuildError::TooLarge`], as from
    /// [`LimiterBuilder::build`](crate::LimiterBuilder::build). Then nothing has changed.
    ///
    /// ```
    /// use llm_ratelimit::{Demand, Limiter, Plans, Settlement};
    ///
    /// # tokio_test::block_on(async {
    /// let limiter = Limiter::builder(Plans::uniform(["5/month"])?).build()?;
    /// limiter.reserve(&Demand::new("acme", "gpt-4o-mini")).await?.settle(Settlement::Unknown);
    /// limiter.replace(&Plans::uniform(["50/month"])?)?;
    /// assert_eq!(limiter.usage("acme").await.iter().next().map(|status| status.remaining), Some(49));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn replace(&self, plans: &Plans) -> Result<(), BuildError> {
        self.0.check(plans)?;
        self.0.rules.store(Rules::new(plans, &self.0.names));
        self.0.drain_all();
        Ok(())
    }

    /// Gives one tenant another plan, at once. Amounts that were used stay used, as with [`replace`](Self::replace),
    /// which puts the
    /// tenants' plans of its argument in place of this one.
    ///
    /// ```
    /// use llm_ratelimit::{Limiter, Plan, Plans};
    ///
    /// let plans = Plans::new("free", Plan::with_limits(["5/month"])?)?.with("pro", Plan::with_limits(["50/month"])?)?;
    /// let limiter = Limiter::builder(plans).build()?;
    /// limiter.set_plan("acme", "pro")?;
    /// assert_eq!((&*limiter.plan_of("acme"), &*limiter.plan_of("other")), ("pro", "free"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PlanError::NoSuchPlan`]. Then nothing has changed.
    pub fn set_plan(&self, tenant: &str, plan: &str) -> Result<(), PlanError> {
        if !self.0.rules.set_plan(tenant, plan) {
            return Err(PlanError::NoSuchPlan(plan.to_owned()));
        }
        self.0.drain_all();
        Ok(())
    }

    /// Returns the handle for emergencies, which scales limits and sheds calls of all clones.
    pub fn emergency(&self) -> Emergency {
        Emergency(Arc::clone(&self.0))
    }

    /// Returns true in shadow mode, in which no call of the layer is refused.
    pub fn is_shadow(&self) -> bool {
        self.0.shadow
    }

    /// Returns the numbers of calls and accounts so far. They are read one after the other, so a concurrent call may be
    /// counted in only some of them.
    pub fn stats(&self) -> Stats {
        let Counts { granted, refused, waited } = &self.0.counts;
        Stats {
            granted: granted.total(),
            refused: refused.total(),
            waited: waited.total(),
            waiting: self.0.queue.waiting() as u64,
            accounts: self.0.accounts.len() as u64,
            #[cfg(feature = "redis")]
            redis: self.0.accounts.redis_stats(),
        }
    }

    /// Forgets what a tenant has used, in all accounts by tenant. Amounts that its running calls have reserved stay
    /// until they settle. The function reads every account. Estimators forget separately: see
    /// [`Learned::forget`](crate::Learned::forget).
    ///
    /// ```
    /// use llm_ratelimit::{Demand, Limiter, Plans, Settlement};
    ///
    /// # tokio_test::block_on(async {
    /// let limiter = Limiter::builder(Plans::uniform(["5/month"])?).build()?;
    /// limiter.reserve(&Demand::new("acme", "gpt-4o-mini")).await?.settle(Settlement::Unknown);
    /// limiter.forget("acme").await;
    /// assert_eq!(limiter.usage("acme").await.iter().next().map(|status| status.remaining), Some(5));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub async fn forget(&self, tenant: &str) {
        self.0.accounts.forget(tenant, &self.0.names).await;
        self.0.drain_all();
    }

    /// Forgets all accounts that hold nothing. Without it, each call checks a few accounts.
    pub fn sweep(&self) {
        self.0.accounts.sweep(self.0.now());
    }

    /// Returns the balances of all calendar windows, for the caller to store. Buckets and slots have none: after a
    /// restart they
    /// begin empty.
    pub async fn balances(&self) -> Vec<Balance> {
        self.0.export(false).await
    }

    /// Returns the balances that have changed since the last call of this function.
    pub async fn changed_balances(&self) -> Vec<Balance> {
        self.0.export(true).await
    }

    /// Restores balances that were stored elsewhere, in place of the known ones. What was reserved in them counts as
    /// spent.
    ///
    /// ```
    /// use llm_ratelimit::{Demand, Limiter, Plans, Settlement};
    ///
    /// # tokio_test::block_on(async {
    /// let plans = Plans::uniform(["5/month"])?;
    /// let before = Limiter::builder(plans.clone()).build()?;
    /// before.reserve(&Demand::new("acme", "gpt-4o-mini")).await?.settle(Settlement::Unknown);
    /// let after = Limiter::builder(plans).build()?;
    /// after.restore(before.balances().await).await;
    /// assert_eq!(after.usage("acme").await.iter().next().map(|status| status.remaining), Some(4));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub async fn restore(&self, balances: impl IntoIterator<Item = Balance>) {
        if let Err(error) = self.import(balances, ImportMode::Replace).await {
            tracing::error!(%error, "balances were not restored: restore them again");
        }
    }

    /// Copies the balances of all calendar windows to another limiter's accounts, and returns the number of those that
    /// changed there. The greater of two balances of one window remains, so that a copy can be repeated and loses no
    /// spent amount. Close this limiter first: amounts that running calls have reserved count as spent.
    ///
    /// ```
    /// use llm_ratelimit::{Demand, Limiter, Plans, Settlement};
    ///
    /// # tokio_test::block_on(async {
    /// let plans = Plans::uniform(["5/month"])?;
    /// let from = Limiter::builder(plans.clone()).open("memory:").await?;
    /// from.limiter().reserve(&Demand::new("acme", "gpt-4o-mini")).await?.settle(Settlement::Unknown);
    /// let to = Limiter::builder(plans).open("memory:").await?;
    /// assert_eq!(from.limiter().migrate(to.limiter()).await?, 1);
    /// assert_eq!(to.limiter().usage("acme").await.iter().next().map(|status| status.remaining), Some(4));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError`]: repeat it then.
    pub async fn migrate(&self, to: &Self) -> Result<usize, StoreError> {
        let balances = self.0.accounts.export(false, &self.0.names).await?;
        to.import(balances, ImportMode::Greater).await
    }

    /// Puts totals that an operator knows, from the vendor's bill for example, in place of the amounts spent in the same
    /// windows, and returns the number of windows that changed. Amounts that running calls have reserved remain. What a
    /// higher total adds beyond the limit is debt. A window that is over by now stays as it is. State totals by
    /// [`Balance::with_spent`].
    ///
    /// ```
    /// use llm_ratelimit::{Demand, Limiter, Plans, Settlement};
    ///
    /// # tokio_test::block_on(async {
    /// let limiter = Limiter::builder(Plans::uniform(["5/month"])?).build()?;
    /// limiter.reserve(&Demand::new("acme", "gpt-4o-mini")).await?.settle(Settlement::Unknown);
    /// // The vendor answered three calls of this tenant.
    /// let totals = limiter.balances().await.into_iter().map(|balance| balance.with_spent(3));
    /// assert_eq!(limiter.reconcile(totals).await?, 1);
    /// assert_eq!(limiter.usage("acme").await.iter().next().map(|status| status.remaining), Some(2));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError`]: repeat it then.
    pub async fn reconcile(&self, totals: impl IntoIterator<Item = Balance>) -> Result<usize, StoreError> {
        let changed = self.import(totals, ImportMode::Spent).await;
        self.0.drain_all();
        changed
    }

    async fn import(&self, balances: impl IntoIterator<Item = Balance>, mode: ImportMode) -> Result<usize, StoreError> {
        self.0.accounts.import(balances.into_iter().collect(), mode, &self.0.names).await
    }

    /// Refuses all further calls and all that wait, and waits until every reservation is settled, or until the builder's
    /// [`close_within`](crate::LimiterBuilder::close_within) is over. Returns how many are still open then.
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] outside of a tokio runtime with timers. Then the limiter stays open.
    ///
    /// ```
    /// use llm_ratelimit::{Demand, Limiter, Plans, Reason};
    ///
    /// # tokio_test::block_on(async {
    /// let limiter = Limiter::builder(Plans::uniform(["10/minute"])?).build()?;
    /// assert_eq!(limiter.close().await?, 0);
    /// assert_eq!(limiter.try_reserve(&Demand::new("acme", "gpt-4o-mini")).unwrap_err().reason(), Reason::Closed);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub async fn close(&self) -> Result<usize, NoRuntime> {
        timers()?;
        self.0.closed.store(true, SeqCst);
        self.0.refuse_all(Reason::Closed);
        self.0.accounts.close();
        let drained = async {
            loop {
                let settled = self.0.settled.notified();
                if self.0.accounts.open() == 0 {
                    return;
                }
                settled.await;
            }
        };
        let _ = tokio::time::timeout(self.0.close_within, drained).await;
        Ok(self.0.accounts.open())
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
