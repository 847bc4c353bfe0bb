//! Public handle of a limiter: it reserves, runs calls, reads statuses, changes plans and closes.
//!
//! It takes no part in decisions: each method calls [`Inner`], which all clones share, and reports the outcome.

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

/// Limiter that enforces limits and budgets. A caller reserves before a call, and settles after it. Clones share its
/// state.
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
    /// Number of calls that are waiting.
    pub waiting: u64,
    /// Number of accounts in memory: one for each tenant, model, label, … that was used recently. It is zero if the
    /// accounts are in Redis.
    pub accounts: u64,
    /// Statistics of accounts in Redis; all zero without Redis.
    #[cfg(feature = "redis")]
    pub redis: crate::RedisStats,
}

impl Limiter {
    /// Reserves all amounts that a call may take, or nothing. It does not wait, and does not take room for which other
    /// calls wait.
    ///
    /// The decision uses only the data of this process, which is complete if the accounts are in memory.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], if a limit has no room for the call, or if the call is refused for another [`Reason`].
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

    /// Reserves further amounts for a running call, without waiting for room. Waiting calls do not delay it.
    pub(crate) async fn reserve_more(&self, demand: &Demand) -> Result<Reservation, Refusal> {
        let mut outcome = self.0.reserve(demand, Standing::Waited).await;
        self.0.report(&mut outcome);
        outcome
    }

    /// Reserves all amounts that a call may take. If there is no room, it waits as long as the builder's
    /// [`Waiting`](crate::Waiting), the call's deadline and the capacity of the queue allow. Without
    /// [`Waiting`](crate::Waiting) it does not wait.
    ///
    /// # Errors
    ///
    /// The errors of [`try_reserve`](Self::try_reserve). The call is also refused, without waiting, if it is known that
    /// there will be no room in time ([`Reason::TooLate`]), if too many calls wait ([`Reason::QueueFull`]), or if it
    /// would wait outside of a tokio runtime with timers ([`Reason::NoRuntime`]).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, nothing is reserved, and its place in the queue is free. A waiting
    /// call that is not polled does not block the calls behind it, because the call that returns room makes the
    /// decision for the first call in the queue.
    pub async fn reserve(&self, demand: &Demand) -> Result<Reservation, Refusal> {
        let mut outcome = self.0.reserve_or_wait(demand).await;
        self.0.report(&mut outcome);
        outcome
    }

    /// Runs a call of any client under the limits: reserves as [`reserve`](Self::reserve) does, runs `call`, and
    /// settles by the usage that it returns. A failed call settles by the [charge](llm_core::Charge) of its error. If
    /// the error has another type, or the call is dropped, the whole reservation counts as spent.
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
    /// The error of `call`, converted to an [`Error`]; or an error whose source is the [`Refusal`].
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

    /// Returns `true` if a limit that applies to the tenant counts in calendar windows.
    pub(crate) fn counts_windows(&self, tenant: &str) -> bool {
        self.0.rules.read().of(tenant).has_windows()
    }

    /// Returns a refusal for a reason other than a lack of room, and counts it.
    pub(crate) fn refuse(&self, demand: &Demand, reason: Reason) -> Refusal {
        let refusal = self.0.refuse(reason, self.0.rules.read().of(&demand.tenant));
        self.0.refused(&refusal);
        refusal
    }

    /// Returns the status of a call's limits, without reserving anything. Returns no statuses while Redis cannot be
    /// reached.
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

    /// Returns the statuses of a tenant's limits that count by tenant, by plan or for all tenants. Limits by model,
    /// provider or label need a demand that names these: see [`limit_statuses`](Self::limit_statuses). For an unknown
    /// tenant the usage is zero.
    pub async fn usage(&self, tenant: &str) -> LimitStatuses {
        let is_broad = |limit: &Limit| {
            let mut dimensions = limit.dimensions().iter();
            limit.scope().filters().is_empty() && dimensions.all(|by| matches!(by, Dimension::Tenant | Dimension::Plan))
        };
        self.limit_statuses(&Demand::new(tenant, "")).await.retain(is_broad)
    }

    /// Returns the name of a tenant's plan, which is the default plan if the tenant was given no other.
    pub fn plan_of(&self, tenant: &str) -> Arc<str> {
        Arc::clone(&self.0.rules.read().of(tenant).name)
    }

    /// Replaces the plans. Used amounts stay used if a limit counts the same unit over the same time as before: if five
    /// proposals a month become fifty and three were used, 47 are left. Waiting calls are decided again. Running calls
    /// are settled in the limits under which they began. A new limit counts only calls that begin later.
    ///
    /// # Errors
    ///
    /// [`BuildError::UnknownUnit`], [`BuildError::NoPrices`] and [`BuildError::TooLarge`], as from
    /// [`LimiterBuilder::build`](crate::LimiterBuilder::build). In that case nothing has changed.
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

    /// Gives one tenant another plan, with immediate effect. Used amounts stay used, as with
    /// [`replace`](Self::replace). A later `replace` overrides the plan by that of its argument.
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
    /// [`PlanError::NoSuchPlan`] if there is no such plan. In that case nothing has changed.
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

    /// Returns `true` in shadow mode, in which no call of the layer is refused.
    pub fn is_shadow(&self) -> bool {
        self.0.shadow
    }

    /// Returns the numbers of calls and accounts so far. They are read one after the other, so a concurrent call may be
    /// included in only some of them.
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

    /// Drops the usage of a tenant in all accounts that count only this tenant. Amounts that its running calls have
    /// reserved in windows and slots stay until these calls settle. Its buckets are emptied. The function reads every
    /// account. Estimators have their own function: [`Learned::forget`](crate::Learned::forget).
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

    /// Removes all accounts in memory that hold nothing, without waiting until calls find them. Calls check a few
    /// accounts from time to time.
    pub fn sweep(&self) {
        self.0.accounts.sweep(self.0.now());
    }

    /// Returns the balances of all calendar windows, for the caller to store. Buckets and slots have no balances: after
    /// a restart they begin empty.
    pub async fn balances(&self) -> Vec<Balance> {
        self.0.export(false).await
    }

    /// Returns the balances that have changed since the last call of this function.
    pub async fn changed_balances(&self) -> Vec<Balance> {
        self.0.export(true).await
    }

    /// Restores stored balances, which replace the current ones. Their reserved amounts count as spent.
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

    /// Copies the balances of all calendar windows to the accounts of another limiter, and returns the number of
    /// balances that changed there. Of two balances for the same window the greater one remains, so that the copy can
    /// be repeated and loses no spent amount. Close this limiter first, because the reserved amounts of running calls
    /// count as spent.
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
    /// [`StoreError`]. Repeat the copy in that case.
    pub async fn migrate(&self, to: &Self) -> Result<usize, StoreError> {
        let balances = self.0.accounts.export(false, &self.0.names).await?;
        to.import(balances, ImportMode::Greater).await
    }

    /// Replaces the amounts spent in calendar windows by totals that an operator knows, for example from the vendor's
    /// bill. Returns the number of windows that changed. Reserved amounts of running calls remain. If a total is above
    /// the limit, the excess that it adds is debt. Windows that have ended stay unchanged. State the totals by
    /// [`Balance::with_spent`].
    ///
    /// ```
    /// use llm_ratelimit::{Demand, Limiter, Plans, Settlement};
    ///
    /// # tokio_test::block_on(async {
    /// let limiter = Limiter::builder(Plans::uniform(["5/month"])?).build()?;
    /// limiter.reserve(&Demand::new("acme", "gpt-4o-mini")).await?.settle(Settlement::Unknown);
    /// // The vendor served three calls of this tenant.
    /// let totals = limiter.balances().await.into_iter().map(|balance| balance.with_spent(3));
    /// assert_eq!(limiter.reconcile(totals).await?, 1);
    /// assert_eq!(limiter.usage("acme").await.iter().next().map(|status| status.remaining), Some(2));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError`]. Repeat the call in that case.
    pub async fn reconcile(&self, totals: impl IntoIterator<Item = Balance>) -> Result<usize, StoreError> {
        let changed = self.import(totals, ImportMode::Spent).await;
        self.0.drain_all();
        changed
    }

    async fn import(&self, balances: impl IntoIterator<Item = Balance>, mode: ImportMode) -> Result<usize, StoreError> {
        self.0.accounts.import(balances.into_iter().collect(), mode, &self.0.names).await
    }

    /// Refuses all waiting and further calls, and waits until every reservation is settled, but no longer than the
    /// builder's [`close_within`](crate::LimiterBuilder::close_within). Returns the number of reservations that are
    /// still open.
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] outside of a tokio runtime with timers. In that case the limiter stays open.
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
