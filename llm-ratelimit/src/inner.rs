//! What the clones of a limiter share.

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use llm_core::{Accounting, PriceOptions, Prices, Priority, ServiceTier, Usage, Usd};
use tokio::sync::Notify;

use crate::{
    BuildError, Demand, Dimension, Event, LimitStatus, LimitStatuses, LimiterBuilder, Plans, Reason, Refusal,
    Reservation, Settlement, Sink, UnitName, UnknownPrice,
    books::{Blocked, Books, Holds, Passed, Settled, Spot},
    build_error::check,
    builder::is_free,
    counter::{Moment, Wait},
    emergency::Measures,
    pulse::Pulse,
    queue::Queue,
    quota::Span,
    rules::{Names, PlanRules, Rules},
    telemetry,
    time::Time,
    window::THRESHOLDS,
};

/// All of a limiter.
pub(crate) struct Inner {
    pub(crate) books: Books,
    pub(crate) rules: ArcSwap<Rules>,
    /// Rules are in two places, and one change at a time is made to both.
    pub(crate) replacing: Mutex<()>,
    pub(crate) names: Names,
    /// The units that the application declared.
    pub(crate) units: Vec<UnitName>,
    pub(crate) queue: Queue,
    pub(crate) time: Time,
    pub(crate) prices: Option<Prices>,
    pub(crate) unknown_price: UnknownPrice,
    pub(crate) measures: Measures,
    pub(crate) pulse: Pulse,
    pub(crate) observes: bool,
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

/// Why there is no reservation.
pub(crate) enum Denied {
    /// No room now.
    Blocked(Blocked),
    /// Waiting would not help.
    Refused(Refusal),
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
            observes,
            sinks,
            max_accounts,
            close_within,
        } = builder;
        let names = Names::default();
        let rules = Arc::new(Rules::new(&plans, &names));
        Self {
            books: Books::new(max_accounts, &rules),
            rules: ArcSwap::new(rules),
            replacing: Mutex::default(),
            names,
            units,
            queue: Queue::new(waiting),
            time: Time::of(clock),
            prices,
            unknown_price,
            measures: Measures::default(),
            pulse: Pulse::default(),
            observes,
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

    /// Reserves at once or not at all. Who runs already is not held up by those who wait.
    pub(crate) fn try_reserve(self: &Arc<Self>, demand: &Demand, runs: bool) -> Result<Reservation, Refusal> {
        if let Some(reservation) = self.reserve_own(demand) {
            return Ok(reservation);
        }
        let rules = self.rules.load();
        let plan = rules.of(&demand.tenant);
        let demand = self.priced(demand, plan)?;
        let holds = self.decide(&demand, plan, runs).map_err(|denied| self.refusal(&demand, plan, denied))?;
        Ok(self.reservation(&demand, plan, holds))
    }

    /// Returns the reservation of what a call holds. Money needs the models that price it.
    pub(crate) fn reservation(self: &Arc<Self>, demand: &Demand, plan: &PlanRules, holds: Holds) -> Reservation {
        Reservation::new(Arc::clone(self), holds, plan.priced.then(|| demand.priced_as()))
    }

    /// Counts what is refused. What was taken while the limiter was being closed goes back: nobody waits for it to settle.
    pub(crate) fn told(
        &self,
        demand: &Demand,
        mut outcome: Result<Reservation, Refusal>,
    ) -> Result<Reservation, Refusal> {
        if self.closed.load(Relaxed) && outcome.is_ok() {
            let plan = Arc::clone(&self.rules.load().of(&demand.tenant).name);
            outcome = Err(Refusal::new(Reason::Closed, plan));
        }
        if let Err(refusal) = &outcome {
            self.refused(refusal);
        }
        outcome
    }

    /// The short way to a reservation, for calls that need nothing but their tenant's own account, in times that need no
    /// emergency handling. Whatever it does not grant is decided at length.
    pub(crate) fn reserve_own(self: &Arc<Self>, demand: &Demand) -> Option<Reservation> {
        let is_odd = self.closed.load(Relaxed) || self.measures.refuses() || self.pulse.is_late();
        if is_odd || demand.cost.is_some_and(|cost| cost.nanos() < 0) {
            return None;
        }
        let mut reservation = Reservation::new(Arc::clone(self), Holds::new(), None);
        self.books.take_own(demand, self.moment(), &mut reservation.holds)?;
        telemetry::granted(|| Arc::clone(&self.rules.load().of(&demand.tenant).name));
        Some(reservation)
    }

    /// The demand with its price, where one is needed.
    pub(crate) fn priced<'a>(&self, demand: &'a Demand, plan: &PlanRules) -> Result<Cow<'a, Demand>, Refusal> {
        match demand.cost {
            Some(cost) if cost.nanos() < 0 => Err(Refusal::new(Reason::Negative, Arc::clone(&plan.name))),
            None if plan.priced => {
                let cost = self.unknown_price.bound(self.prices.as_ref(), demand);
                let cost = cost.map_err(|cause| Refusal::unpriced(cause, Arc::clone(&plan.name)))?;
                Ok(Cow::Owned(demand.clone().cost(cost)))
            }
            _ => Ok(Cow::Borrowed(demand)),
        }
    }

    /// Takes all of it or nothing. Who has waited for room is not held up by those who wait.
    pub(crate) fn decide(&self, demand: &Demand, plan: &PlanRules, waited: bool) -> Result<Holds, Denied> {
        let refuse = |reason| Err(Denied::Refused(Refusal::new(reason, Arc::clone(&plan.name))));
        if self.closed.load(Relaxed) {
            return refuse(Reason::Closed);
        }
        if let Some(reason) = self.measures.refuse(demand, &plan.name) {
            return refuse(reason);
        }
        if self.pulse.is_late() && plan.has_windows() {
            return refuse(Reason::Unrecorded);
        }
        let holds = self.books.take(demand, plan, self.moment(), waited).map_err(Denied::Blocked)?;
        self.counts.granted.fetch_add(1, Relaxed);
        telemetry::granted(|| Arc::clone(&plan.name));
        Ok(holds)
    }

    pub(crate) fn refusal(&self, demand: &Demand, plan: &PlanRules, denied: Denied) -> Refusal {
        match denied {
            Denied::Refused(refusal) => refusal,
            Denied::Blocked(Blocked { spot, group, rule, wait }) => {
                let behind = || spot.and_then(|spot| self.behind(demand, plan, group, spot));
                let (reason, after) = match wait {
                    Wait::Ever if demand.is_unbounded() => (Reason::Unbounded, None),
                    Wait::Ever => (Reason::TooLarge, None),
                    Wait::Nanos(nanos) => (Reason::UsedUp, Some(Duration::from_nanos(nanos)).max(behind())),
                    Wait::Unknown | Wait::Not => (Reason::UsedUp, behind()),
                };
                let rules = &plan.groups[group].rules;
                let limit = rule.or((!rules.is_empty()).then_some(0)).map(|rule| &rules[rule].limit);
                let refusal = Refusal::new(reason, Arc::clone(&plan.name)).with_limit(limit, after);
                refusal.with_standings(self.levels(demand, plan))
            }
        }
    }

    pub(crate) fn limit_statuses(&self, demand: &Demand) -> LimitStatuses {
        let rules = self.rules.load();
        self.levels(demand, rules.of(&demand.tenant))
    }

    pub(crate) fn settle(self: &Arc<Self>, holds: &[crate::books::Hold], actual: &Settlement) {
        // Only buckets that get something back, or pay more, must know the time.
        let moved = holds.iter().any(|hold| hold.is_moved_by(actual));
        let now = if moved { self.now() } else { 0 };
        let Settled { passed, debts, awaited } = self.books.settle(holds, actual, now);
        for (kind, amount) in debts {
            telemetry::debt(kind, amount);
        }
        for spot in awaited {
            self.queue.pump(self, spot);
        }
        if self.closed.load(SeqCst) {
            self.settled.notify_waiters();
        }
        // Last, for what it calls is not ours.
        for passed in passed {
            self.tell(passed);
        }
    }

    pub(crate) fn pump_all(self: &Arc<Self>) {
        if self.measures.refuses() {
            self.queue.shed(self);
        }
        self.queue.pump_all(self);
    }

    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.counts.refused.fetch_add(1, Relaxed);
        telemetry::refused(refusal);
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment { now: self.now(), per_mille: self.measures.per_mille() }
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

    /// How long until a call would fit behind those who wait for an account, if nobody else came; `None` if nobody does.
    fn behind(&self, demand: &Demand, plan: &PlanRules, group: usize, spot: Spot) -> Option<Duration> {
        if !self.queue.waits_for(spot) {
            return None;
        }
        let levels = self.books.levels(demand, plan, self.moment());
        let rules = &plan.groups[group].rules;
        let waits = levels.into_iter().filter_map(|(rule, level)| {
            let rule = rules.iter().find(|known| std::ptr::eq(*known, rule))?;
            let wanted = self.queue.wanted(spot, rule).saturating_add(demand.amount(rule).unwrap_or(0));
            let over = level.used.saturating_add(level.reserved).saturating_add(wanted).saturating_sub(level.limit);
            match rule.limit.quota().span() {
                Span::Calendar(_) if over > 0 => Some(level.reset),
                _ => rule.limit.quota().nanos_for(over),
            }
        });
        // Room that is there is theirs first, and then it is soon.
        waits.max().map(|nanos| Duration::from_nanos(nanos).max(Duration::from_millis(1)))
    }

    pub(crate) fn levels(&self, demand: &Demand, plan: &PlanRules) -> LimitStatuses {
        let levels = self.books.levels(demand, plan, self.moment()).into_iter();
        levels.map(|(rule, level)| LimitStatus::new(Arc::clone(&rule.limit), level)).collect()
    }

    fn tell(&self, passed: Passed) {
        let Some(limit) = self.rules.load().limit(passed.group, passed.counter).cloned() else { return };
        for (bit, percent) in THRESHOLDS.into_iter().enumerate() {
            if passed.bits & (1 << bit) == 0 {
                continue;
            }
            let until = SystemTime::UNIX_EPOCH + Duration::from_nanos(passed.until);
            let (limit, subject) = (Arc::clone(&limit), passed.values.clone());
            let event = Event { limit, subject, percent, spent: passed.used, until };
            self.sinks.iter().for_each(|sink| sink.tell(&event));
        }
    }

    /// The groups that count by tenant, and where among its values the tenant is.
    pub(crate) fn tenant_groups(&self) -> Vec<(u32, usize)> {
        self.names.groups_of(&Dimension::Tenant.to_string())
    }
}

impl Denied {
    /// Whether waiting may help.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::Blocked(Blocked { spot: Some(_), wait: Wait::Nanos(_) | Wait::Unknown, .. }))
    }
}

/// The classes of waiting calls: those of interactive priority go first.
pub(crate) fn class_of(priority: Priority) -> usize {
    usize::from(priority != Priority::Interactive)
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").finish_non_exhaustive()
    }
}
