use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use llm_core::{Prices, Priority, Usage, Usd};
use tokio::sync::Notify;

use crate::{
    Actual, Aspect, Balance, Demand, Emergency, Event, LimiterBuilder, Plans, Reason, Refusal, Reservation, Sink,
    Standing, Standings, UnknownPrice,
    books::{Blocked, Books, Holds, Passed, Settled, Spot},
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

/// Limits and budgets: reserve before a call, settle after it. Clones share all of it.
///
/// ```
/// use llm_core::Usage;
/// use llm_ratelimit::{Actual, Demand, Limiter, Plans};
///
/// let limiter = Limiter::builder(Plans::each(["10/minute", "10k tokens/day"])?).build();
/// let reservation = limiter.try_reserve(&Demand::new("acme", "gpt-4o-mini").tokens(1_000, 500))?;
/// // … the call, by whatever client …
/// reservation.settle(Actual::Used { usage: Usage::new(900, 120), cost: None });
/// let left: Vec<u64> = limiter.usage("acme").iter().map(|standing| standing.remaining).collect();
/// assert_eq!(left, [9, 8_980]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Limiter(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) books: Books,
    pub(crate) rules: ArcSwap<Rules>,
    /// Rules are in two places, and one change at a time is made to both.
    replacing: Mutex<()>,
    names: Names,
    pub(crate) queue: Queue,
    time: Time,
    pub(crate) prices: Option<Prices>,
    unknown_price: UnknownPrice,
    pub(crate) measures: Measures,
    pub(crate) pulse: Pulse,
    pub(crate) observes: bool,
    sinks: Vec<Arc<dyn Sink>>,
    pub(crate) counts: Counts,
    closed: AtomicBool,
    settled: Notify,
    close_within: Duration,
}

/// What a limiter has done since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Reservations made.
    pub granted: u64,
    /// Calls refused, or that would have been where it only observes.
    pub refused: u64,
    /// Calls that had to wait, whatever came of it.
    pub waited: u64,
    /// Calls that wait now.
    pub waiting: u64,
    /// Accounts held: one for each tenant, model, label, … that has used something lately.
    pub accounts: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    granted: AtomicU64,
    refused: AtomicU64,
    pub(crate) waited: AtomicU64,
}

/// Why there is no reservation.
pub(crate) enum Denied {
    /// No room now.
    Blocked(Blocked),
    /// Waiting would not help.
    Refused(Refusal),
}

impl Limiter {
    /// A limiter with these plans.
    pub fn builder(plans: Plans) -> LimiterBuilder {
        LimiterBuilder::new(plans)
    }

    /// Reserves all that a call may take, or nothing. It does not wait, and takes no room that others wait for.
    ///
    /// # Errors
    ///
    /// A limit has no room for it, or it can never pass: see [`Reason`].
    pub fn try_reserve(&self, demand: &Demand) -> Result<Reservation, Refusal> {
        self.0.told(demand, self.0.try_reserve(demand, false))
    }

    /// Reserves more for a call that runs, at once: those who wait do not hold it up.
    pub(crate) fn reserve_more(&self, demand: &Demand) -> Result<Reservation, Refusal> {
        self.0.told(demand, self.0.try_reserve(demand, true))
    }

    /// Reserves all that a call may take, waiting for it as long as the builder's [`Waiting`](crate::Waiting), the call's
    /// deadline and the room in the queue allow; without [`Waiting`](crate::Waiting), not at all.
    ///
    /// # Errors
    ///
    /// As [`try_reserve`](Self::try_reserve); at once, where it is known that there will be no room in time.
    pub async fn reserve(&self, demand: &Demand) -> Result<Reservation, Refusal> {
        self.0.told(demand, Queue::reserve(&self.0, demand).await)
    }

    /// Whether a limit of a tenant counts in calendar windows.
    pub(crate) fn counts_windows(&self, tenant: &str) -> bool {
        self.0.rules.load().of(tenant).has_windows()
    }

    /// A refusal that has nothing to do with what is left, counted.
    pub(crate) fn refuse(&self, demand: &Demand, reason: Reason) -> Refusal {
        let refusal = Refusal::new(reason, self.plan_of(&demand.tenant));
        self.0.refused(&refusal);
        refusal
    }

    /// How the limits of a call stand, without reserving anything.
    pub fn standings(&self, demand: &Demand) -> Standings {
        self.0.standings(demand)
    }

    /// How the limits of a tenant stand, as far as they are counted by tenant and plan alone or for everybody together.
    pub fn usage(&self, tenant: &str) -> Standings {
        let standings = self.standings(&Demand::new(tenant, ""));
        let broad = |standing: &&Standing| {
            let aspects = standing.limit.aspects().iter();
            standing.limit.confines().is_empty() && aspects.clone().all(|a| matches!(a, Aspect::Tenant | Aspect::Plan))
        };
        standings.iter().filter(broad).cloned().collect()
    }

    /// The plan of a tenant.
    pub fn plan_of(&self, tenant: &str) -> Arc<str> {
        Arc::clone(&self.0.rules.load().of(tenant).name)
    }

    /// Puts other plans in force. What was used stays used wherever a limit still counts the same over the same time: the
    /// month's five proposals become the month's fifty, and three of them are gone. Calls that wait are looked at again.
    pub fn replace(&self, plans: &Plans) {
        let rules = Arc::new(Rules::new(plans, &self.0.names));
        {
            let _one = self.0.replacing.lock().unwrap_or_else(PoisonError::into_inner);
            self.0.rules.store(Arc::clone(&rules));
            self.0.books.replace(&rules);
        }
        self.0.pump_all();
    }

    /// The handle for emergencies.
    pub fn emergency(&self) -> Emergency {
        Emergency(Arc::clone(&self.0))
    }

    /// Whether it only observes.
    pub fn observes(&self) -> bool {
        self.0.observes
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        let Counts { granted, refused, waited } = &self.0.counts;
        Stats {
            granted: granted.load(Relaxed) + self.0.books.own(),
            refused: refused.load(Relaxed),
            waited: waited.load(Relaxed),
            waiting: self.0.queue.waiting() as u64,
            accounts: self.0.books.len() as u64,
        }
    }

    /// Forgets what a tenant has used, everywhere it was counted apart. What its running calls have reserved stays until
    /// they settle. It looks at every account. What estimators know of it is theirs to forget: see
    /// [`Learned::forget`](crate::Learned::forget).
    pub fn forget(&self, tenant: &str) {
        let groups = self.0.tenant_groups();
        self.0.books.forget(|group, values| {
            let at = groups.iter().find(|(id, _)| *id == group).map(|(_, at)| *at);
            at.is_some_and(|at| values.nth(at) == Some(tenant))
        });
        self.0.pump_all();
    }

    /// Forgets accounts that hold nothing any more, all at once. A few are looked at with every call in any case.
    pub fn sweep(&self) {
        self.0.books.sweep(self.0.now());
    }

    /// What the calendar windows hold, to be kept elsewhere.
    pub fn balances(&self) -> Vec<Balance> {
        self.0.books.balances(false, &self.0.names)
    }

    /// The balances of all accounts that have changed since this was last called.
    pub fn changed_balances(&self) -> Vec<Balance> {
        self.0.books.balances(true, &self.0.names)
    }

    /// Puts balances back that were kept elsewhere, in place of what is known. What was reserved in them counts as spent.
    pub fn restore(&self, balances: impl IntoIterator<Item = Balance>) {
        self.0.books.restore(balances, &self.0.names);
    }

    /// Refuses all further calls and all that wait, and waits until every reservation is settled, or until the builder's
    /// [`close_within`](LimiterBuilder::close_within) is over. Says how many are still open then.
    pub async fn close(&self) -> usize {
        self.0.closed.store(true, SeqCst);
        self.0.queue.refuse_all(&self.0, Reason::Closed);
        let drained = async {
            loop {
                let settled = self.0.settled.notified();
                if self.0.books.open() == 0 {
                    return;
                }
                settled.await;
            }
        };
        let _ = tokio::time::timeout(self.0.close_within, drained).await;
        self.0.books.open()
    }
}

impl Inner {
    pub(crate) fn new(builder: LimiterBuilder) -> Self {
        let LimiterBuilder {
            plans,
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

    /// Reserves at once or not at all. Who runs already is not held up by those who wait.
    pub(crate) fn try_reserve(self: &Arc<Self>, demand: &Demand, runs: bool) -> Result<Reservation, Refusal> {
        if let Some(reservation) = self.reserve_own(demand) {
            return Ok(reservation);
        }
        let rules = self.rules.load();
        let plan = rules.of(&demand.tenant);
        let demand = self.priced(demand, plan)?;
        let holds = self.decide(&demand, plan, runs).map_err(|denied| self.refusal(&demand, plan, denied))?;
        Ok(Reservation::new(Arc::clone(self), holds))
    }

    /// Counts what is refused. What was taken while the limiter was being closed goes back: nobody waits for it to settle.
    fn told(&self, demand: &Demand, mut outcome: Result<Reservation, Refusal>) -> Result<Reservation, Refusal> {
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
        let mut reservation = Reservation::new(Arc::clone(self), Holds::new());
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
                let cost = cost.ok_or_else(|| Refusal::new(Reason::Unpriced, Arc::clone(&plan.name)))?;
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

    pub(crate) fn standings(&self, demand: &Demand) -> Standings {
        let rules = self.rules.load();
        self.levels(demand, rules.of(&demand.tenant))
    }

    pub(crate) fn settle(self: &Arc<Self>, holds: &[crate::books::Hold], actual: &Actual) {
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

    /// What a usage costs, where that is known.
    pub(crate) fn cost(&self, model: &str, usage: &Usage) -> Option<Usd> {
        let listed = self.prices.as_ref().and_then(|prices| prices.current().cost(model, usage));
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
            let wanted = self.queue.wanted(spot, rule).saturating_add(demand.amount(rule));
            let over = level.used.saturating_add(level.reserved).saturating_add(wanted).saturating_sub(level.limit);
            match rule.limit.quota().span() {
                Span::Calendar(_) if over > 0 => Some(level.reset),
                _ => rule.limit.quota().nanos_for(over),
            }
        });
        // Room that is there is theirs first, and then it is soon.
        waits.max().map(|nanos| Duration::from_nanos(nanos).max(Duration::from_millis(1)))
    }

    fn levels(&self, demand: &Demand, plan: &PlanRules) -> Standings {
        let levels = self.books.levels(demand, plan, self.moment()).into_iter();
        levels.map(|(rule, level)| Standing::new(Arc::clone(&rule.limit), level)).collect()
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
    fn tenant_groups(&self) -> Vec<(u32, usize)> {
        self.names.groups_of(&Aspect::Tenant.to_string())
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

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").finish_non_exhaustive()
    }
}
