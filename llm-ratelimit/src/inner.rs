//! The state that all clones of a limiter share.

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use llm_core::{
    Usage, Usd,
    layer::Accounting,
    price::{PriceOptions, Prices, ServiceTier},
};
use tokio::sync::Notify;

use crate::{
    BuildError, Demand, Event, LimitStatuses, LimiterBuilder, Plans, Reason, Refusal, Reservation, Settlement, Sink,
    UnitName, UnknownPrice,
    account_ref::AccountRef,
    account_table::AccountTable,
    accounts::{Accounts, Decision, DecisionRequest, Settled, Standing, ThresholdReached},
    blocked::Blocked,
    build_error::check,
    builder::is_free,
    counter::{DecisionTime, Wait},
    emergency::Controls,
    flush_watchdog::FlushWatchdog,
    hold::Hold,
    queue::Queue,
    quota::Span,
    rules::{Names, PlanRules, Rules},
    telemetry,
    time::Time,
    window::THRESHOLDS,
};

/// All of a limiter.
pub(crate) struct Inner {
    pub(crate) accounts: Box<dyn Accounts>,
    pub(crate) rules: ArcSwap<Rules>,
    pub(crate) names: Names,
    /// The units that the application declared.
    pub(crate) units: Vec<UnitName>,
    pub(crate) queue: Queue,
    pub(crate) time: Time,
    pub(crate) prices: Option<Prices>,
    pub(crate) unknown_price: UnknownPrice,
    pub(crate) controls: Controls,
    pub(crate) flush_watchdog: FlushWatchdog,
    pub(crate) shadow: bool,
    pub(crate) sinks: Vec<Arc<dyn Sink>>,
    pub(crate) counts: Counts,
    pub(crate) closed: AtomicBool,
    pub(crate) settled: Notify,
    pub(crate) close_within: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) granted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) waited: AtomicU64,
}

impl Inner {
    pub(crate) fn new(builder: LimiterBuilder) -> Self {
        let LimiterBuilder {
            plans,
            units,
            clock,
            prices,
            unknown_price,
            waiting,
            shadow,
            sinks,
            max_accounts,
            close_within,
            accounts,
        } = builder;
        let names = Names::default();
        Self {
            accounts: accounts.unwrap_or_else(|| Box::new(AccountTable::new(max_accounts))),
            rules: ArcSwap::from_pointee(Rules::new(&plans, &names)),
            names,
            units,
            queue: Queue::new(waiting),
            time: Time::of(clock),
            prices,
            unknown_price,
            controls: Controls::default(),
            flush_watchdog: FlushWatchdog::default(),
            shadow,
            sinks,
            counts: Counts::default(),
            closed: AtomicBool::new(false),
            settled: Notify::new(),
            close_within,
        }
    }

    /// Refuses plans with a limit that this limiter cannot enforce.
    pub(crate) fn check(&self, plans: &Plans) -> Result<(), BuildError> {
        check(plans, &self.units, self.unknown_price.has_prices(self.prices.as_ref()))
    }

    /// Reserves by what is known here, at once or not at all.
    #[inline]
    pub(crate) fn try_reserve(self: &Arc<Self>, demand: &Demand, standing: Standing) -> Result<Reservation, Refusal> {
        let outcome = self.reserve_by(demand, standing, |request, decision| {
            self.accounts.try_decide(request, decision);
            true
        });
        outcome.expect("it was decided")
    }

    /// Reserves at once or not at all; `None` if the decision needs a round trip.
    #[inline]
    pub(crate) fn reserve_at_once(
        self: &Arc<Self>,
        demand: &Demand,
        standing: Standing,
    ) -> Option<Result<Reservation, Refusal>> {
        // A decision that is not polled has not begun.
        self.reserve_by(demand, standing, |request, decision| self.accounts.decide(request, decision).is_none())
    }

    /// As [`reserve_at_once`](Self::reserve_at_once), after a round trip if the decision needs one.
    pub(crate) async fn reserve(self: &Arc<Self>, demand: &Demand, standing: Standing) -> Result<Reservation, Refusal> {
        let plan = self.plan_of(&demand.tenant);
        let demand = &*self.priced(demand, &plan)?;
        if let Some(reason) = self.always_refuses(demand, &plan) {
            return Err(self.refuse(reason, &plan));
        }
        let request = DecisionRequest { demand, plan: &plan, at: self.decision_time(), standing };
        let mut decision = Decision::new(&request);
        if let Some(round_trip) = self.accounts.decide(&request, &mut decision) {
            round_trip.await;
        }
        self.conclude(&request, decision)
    }

    /// Counts a call that is sent although it was refused.
    pub(crate) async fn record(self: &Arc<Self>, demand: &Demand) -> Reservation {
        let plan = self.plan_of(&demand.tenant);
        let priced = self.priced(demand, &plan).unwrap_or(Cow::Borrowed(demand));
        let (at, standing) = (self.decision_time(), Standing::Regardless);
        let request = DecisionRequest { demand: &priced, plan: &plan, at, standing };
        let mut decision = Decision::new(&request);
        if let Some(round_trip) = self.accounts.decide(&request, &mut decision) {
            round_trip.await;
        }
        let models = plan.priced.then(|| demand.priced_as());
        Reservation::new(Arc::clone(self), decision, models)
    }

    /// Reserves by a function that decides; `None` if it does not.
    #[inline]
    fn reserve_by(
        self: &Arc<Self>,
        demand: &Demand,
        standing: Standing,
        decide: impl FnOnce(&DecisionRequest<'_>, &mut Decision) -> bool,
    ) -> Option<Result<Reservation, Refusal>> {
        let rules = self.rules.load();
        let plan = rules.of(&demand.tenant);
        let priced = match self.priced(demand, plan) {
            Ok(priced) => priced,
            Err(refusal) => return Some(Err(refusal)),
        };
        if let Some(reason) = self.always_refuses(&priced, plan) {
            return Some(Err(self.refuse(reason, plan)));
        }
        let request = DecisionRequest { demand: &priced, plan, at: self.decision_time(), standing };
        let mut decision = Decision::new(&request);
        decide(&request, &mut decision).then(|| self.conclude(&request, decision))
    }

    /// Turns a decision into its outcome. A refusal states the time that those who wait will take, so the queue must not
    /// be locked. Money needs the models that price it.
    #[inline]
    fn conclude(self: &Arc<Self>, request: &DecisionRequest<'_>, decision: Decision) -> Result<Reservation, Refusal> {
        let DecisionRequest { demand, plan, .. } = *request;
        let Some(blocked) = decision.blocked else {
            self.counts.granted.fetch_add(1, Relaxed);
            telemetry::granted(&plan.name);
            let models = plan.priced.then(|| demand.priced_as());
            return Ok(Reservation::new(Arc::clone(self), decision, models));
        };
        let reason = match blocked.wait {
            Wait::Ever if demand.is_unbounded() => Reason::Unbounded,
            Wait::Ever => Reason::TooLarge,
            Wait::Nanos(_) | Wait::Unknown | Wait::Not => Reason::UsedUp,
        };
        let mut refusal = Refusal::new(reason, decision.statuses).blocked(blocked);
        self.add_queue(demand, &mut refusal);
        Err(refusal)
    }

    /// Returns the rules for a tenant.
    pub(crate) fn plan_of(&self, tenant: &str) -> Arc<PlanRules> {
        Arc::clone(self.rules.load().of(tenant))
    }

    /// Counts what is refused. What was taken while the limiter was being closed goes back, because `close` does not wait for it.
    #[inline]
    pub(crate) fn report(&self, outcome: &mut Result<Reservation, Refusal>) {
        if let Ok(reservation) = outcome
            && self.closed.load(Relaxed)
        {
            *outcome = Err(Refusal::new(Reason::Closed, reservation.limit_statuses().clone()));
        }
        if let Err(refusal) = outcome {
            self.refused(refusal);
        }
    }

    /// Adds the price to a demand that states none, where a limit counts money.
    #[inline]
    pub(crate) fn priced<'a>(&self, demand: &'a Demand, plan: &Arc<PlanRules>) -> Result<Cow<'a, Demand>, Refusal> {
        match demand.cost {
            Some(cost) if cost.nanos() < 0 => Err(self.refuse(Reason::Negative, plan)),
            None if plan.priced => match self.unknown_price.bound(self.prices.as_ref(), demand) {
                Ok(cost) => Ok(Cow::Owned(demand.clone().cost(cost))),
                Err(cause) => Err(self.refuse(Reason::Unpriced, plan).with_unknown_cost(cause)),
            },
            _ => Ok(Cow::Borrowed(demand)),
        }
    }

    /// Returns a refusal that has nothing to do with what is left.
    pub(crate) fn refuse(&self, reason: Reason, plan: &Arc<PlanRules>) -> Refusal {
        Refusal::new(reason, LimitStatuses::new(Arc::clone(plan), self.decision_time()))
    }

    /// Returns the reason to refuse a call whatever is left.
    #[inline]
    fn always_refuses(&self, demand: &Demand, plan: &PlanRules) -> Option<Reason> {
        if self.closed.load(Relaxed) {
            return Some(Reason::Closed);
        }
        let unrecorded = || (self.flush_watchdog.is_late() && plan.has_windows()).then_some(Reason::Unrecorded);
        self.controls.refuse(demand, &plan.name).or_else(unrecorded)
    }

    /// Adds the time that waiting calls will take, where some wait for the account.
    pub(crate) fn add_queue(&self, demand: &Demand, refusal: &mut Refusal) {
        if let Some(Blocked { account_ref: Some(account_ref), group, wait, .. }) = refusal.blocked
            && wait != Wait::Ever
            && let Some(behind) = self.behind(demand, &refusal.statuses, group.into(), account_ref)
        {
            refusal.retry_after = refusal.retry_after.max(Some(behind));
        }
    }

    pub(crate) async fn limit_statuses(&self, demand: &Demand) -> LimitStatuses {
        let (plan, at) = (self.plan_of(&demand.tenant), self.decision_time());
        self.accounts.levels(DecisionRequest { demand, plan: &plan, at, standing: Standing::New }).await
    }

    pub(crate) fn settle(self: &Arc<Self>, holds: &[Hold], settlement: &Settlement) {
        // Only buckets that get something back, or pay more, must know the time.
        let moved = holds.iter().any(|hold| hold.is_moved_by(settlement));
        let now = if moved { self.now() } else { 0 };
        let Settled { reached_thresholds, debts, awaited } = self.accounts.settle(holds, settlement, now);
        for (kind, amount) in debts {
            telemetry::debt(kind, amount);
        }
        for account_ref in awaited {
            self.queue.drain(self, account_ref);
        }
        if self.closed.load(SeqCst) {
            self.settled.notify_waiters();
        }
        // Last, for what it calls is not ours.
        for reached_thresholds in reached_thresholds {
            self.emit(reached_thresholds);
        }
    }

    pub(crate) fn drain_all(self: &Arc<Self>) {
        if self.controls.refuses() {
            self.queue.shed(self);
        }
        self.queue.drain_all(self);
    }

    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.counts.refused.fetch_add(1, Relaxed);
        telemetry::refused(refusal);
    }

    pub(crate) fn decision_time(&self) -> DecisionTime {
        DecisionTime { now: self.now(), per_mille: self.controls.per_mille() }
    }

    pub(crate) fn now(&self) -> u64 {
        self.time.now()
    }

    /// Returns the cost of an answer to a request for the model `asked` by the table.
    pub(crate) fn cost_of(&self, asked: &str, facts: &Accounting, usage: &Usage) -> Option<Usd> {
        self.prices.as_ref()?.current().cost_of(asked, &ServiceTier::Standard, facts, usage).ok()
    }

    /// Returns the cost of a usage of a model by the table, or as it is assumed.
    pub(crate) fn cost(&self, model: &str, options: &PriceOptions, usage: &Usage) -> Option<Usd> {
        if !usage.is_plausible() {
            return None;
        }
        let listed = self.prices.as_ref().and_then(|prices| prices.current().cost_with(model, usage, options).ok());
        match self.unknown_price {
            UnknownPrice::Refuse => listed,
            UnknownPrice::Assume(price) => listed.or_else(|| price.cost(usage).filter(|_| !is_free(&price))),
        }
    }

    /// Returns the time until a call would fit behind those that wait for an account, if no other came; `None` if none does.
    fn behind(
        &self,
        demand: &Demand,
        statuses: &LimitStatuses,
        group: usize,
        account_ref: AccountRef,
    ) -> Option<Duration> {
        if !self.queue.waits_for(account_ref) {
            return None;
        }
        let group = &statuses.plan().groups[group];
        let waits = group.rules.iter().enumerate().filter_map(|(number, rule)| {
            let status = statuses.get(group.first + number)?;
            let wanted = self.queue.wanted(account_ref, rule).saturating_add(rule.amount(demand).unwrap_or(0));
            let taken = status.used.saturating_add(status.reserved);
            let over = taken.saturating_add(wanted).saturating_sub(status.amount);
            match rule.limit.quota().span() {
                Span::Calendar(_) if over > 0 => Some(status.reset),
                _ => rule.limit.quota().nanos_for(over).map(Duration::from_nanos),
            }
        });
        // Room that is there is theirs first, and then it is soon.
        waits.max().map(|wait| wait.max(Duration::from_millis(1)))
    }

    fn emit(&self, reached_thresholds: ThresholdReached) {
        let Some(limit) = self.rules.load().limit(reached_thresholds.group, reached_thresholds.counter).cloned() else {
            return;
        };
        for (bit, percent) in THRESHOLDS.into_iter().enumerate() {
            if reached_thresholds.bits & (1 << bit) == 0 {
                continue;
            }
            let until = SystemTime::UNIX_EPOCH + Duration::from_nanos(reached_thresholds.until);
            let (limit, subject) = (Arc::clone(&limit), reached_thresholds.values.clone());
            let event = Event { limit, subject, percent, spent: reached_thresholds.used, until };
            self.sinks.iter().for_each(|sink| sink.emit(&event));
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").finish_non_exhaustive()
    }
}
