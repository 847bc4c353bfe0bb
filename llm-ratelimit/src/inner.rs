//! State that all clones of a limiter share.

mod reserve;
mod ticket;
mod turn;
mod wait;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use llm_core::{
    Usage, Usd,
    layer::Accounting,
    price::{Prices, ServiceTier},
};
use tokio::sync::Notify;

use crate::{
    Balance, BuildError, Demand, LimitStatuses, Plans, Reason, Refusal, Sink, UnitName, UnknownPrice,
    accounts::{Accounts, DecisionRequest, Standing},
    blocked::Blocked,
    build_error::check,
    controls::Controls,
    counter::DecisionTime,
    current_rules::CurrentRules,
    flush_watchdog::FlushWatchdog,
    queue::Queue,
    quota::Span,
    rules::{Names, PlanRules},
    telemetry,
    thread_counter::ThreadCounter,
    time::Time,
};

/// State of a limiter, which all of its clones share.
pub(crate) struct Inner {
    pub(crate) accounts: Box<dyn Accounts>,
    pub(crate) rules: CurrentRules,
    pub(crate) names: Names,
    /// Units that the application declared.
    pub(crate) units: Vec<UnitName>,
    pub(crate) queue: Queue,
    pub(crate) time: Time,
    pub(crate) prices: Option<Prices>,
    pub(crate) unknown_price: UnknownPrice,
    pub(crate) controls: Controls,
    pub(crate) flush_watchdog: FlushWatchdog,
    pub(crate) shadow: bool,
    pub(crate) sinks: Vec<Arc<dyn Sink>>,
    /// Shares of a window's limit at which an event is emitted, in percent, in ascending order.
    pub(crate) alert_shares: Vec<u8>,
    pub(crate) counts: Counts,
    pub(crate) closed: AtomicBool,
    pub(crate) settled: Notify,
    pub(crate) close_within: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) granted: ThreadCounter,
    pub(crate) refused: ThreadCounter,
    pub(crate) waited: ThreadCounter,
}

impl Inner {
    /// Returns an error for plans with a limit that this limiter cannot enforce.
    pub(crate) fn check(&self, plans: &Plans) -> Result<(), BuildError> {
        let has_prices = self.unknown_price.has_prices(self.prices.as_ref());
        check(plans, &self.units, has_prices, self.accounts.greatest_limit())
    }

    /// Returns the largest cost of a demand that states none; `None` if the demand states a cost or no limit counts
    /// money. A call with a negative or an unknown cost is refused.
    #[inline]
    fn missing_cost(&self, demand: &Demand, plan: &Arc<PlanRules>) -> Result<Option<Usd>, Refusal> {
        match demand.cost {
            Some(cost) if cost.nanos() < 0 => Err(self.refuse(Reason::Negative, plan)),
            None if plan.priced => match self.unknown_price.bound(self.prices.as_ref(), demand) {
                Ok(cost) => Ok(Some(cost)),
                Err(cause) => Err(self.refuse(Reason::Unpriced, plan).with_unknown_cost(cause)),
            },
            _ => Ok(None),
        }
    }

    /// Creates a refusal for a reason other than a lack of room.
    pub(crate) fn refuse(&self, reason: Reason, plan: &Arc<PlanRules>) -> Refusal {
        Refusal::new(reason, LimitStatuses::new(Arc::clone(plan), self.decision_time()))
    }

    /// Returns the reason to refuse a call even if there is room; `None` if there is no such reason.
    #[inline]
    fn always_refuses(&self, demand: &Demand, plan: &PlanRules) -> Option<Reason> {
        if self.closed.load(Relaxed) {
            return Some(Reason::Closed);
        }
        let unrecorded = || (self.flush_watchdog.is_late() && plan.has_windows()).then_some(Reason::Unrecorded);
        self.controls.refuse(demand, &plan.name).or_else(unrecorded)
    }

    pub(crate) async fn limit_statuses(&self, demand: &Demand) -> LimitStatuses {
        let (plan, at) = (self.rules.of(&demand.tenant), self.decision_time());
        self.accounts.levels(DecisionRequest { demand, plan: &plan, at, standing: Standing::New }).await
    }

    /// Returns balances. If they cannot be read, logs an error and returns an empty list.
    pub(crate) async fn export(&self, changed: bool) -> Vec<Balance> {
        self.accounts.export(changed, &self.names).await.unwrap_or_else(|error| {
            tracing::error!(%error, "balances cannot be read");
            Vec::new()
        })
    }

    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.counts.refused.increment();
        telemetry::refused(refusal);
    }

    pub(crate) fn decision_time(&self) -> DecisionTime {
        DecisionTime { now: self.now(), per_mille: self.controls.per_mille() }
    }

    pub(crate) fn now(&self) -> u64 {
        self.time.now()
    }

    /// Returns the cost of a response to a request for the model `asked`, by the price table.
    pub(crate) fn cost_of(&self, asked: &str, facts: &Accounting, usage: &Usage) -> Option<Usd> {
        self.prices.as_ref()?.current().cost_of(asked, &ServiceTier::Standard, facts, usage).ok()
    }

    /// Returns the time until a call would fit after the calls that already wait for its account, if no further call
    /// came; `None` if no call waits.
    fn behind(&self, demand: &Demand, statuses: &LimitStatuses, blocked: &Blocked) -> Option<Duration> {
        let account_ref = blocked.account_ref.filter(|account_ref| self.queue.waits_for(*account_ref))?;
        let group = &statuses.plan().groups[usize::from(blocked.group)];
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
        // Waiting calls take free room first, so the waiting time is short but not zero.
        waits.max().map(|wait| wait.max(Duration::from_millis(1)))
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").finish_non_exhaustive()
    }
}
