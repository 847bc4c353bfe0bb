//! Reserving and settling.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{Ordering::Relaxed, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use llm_core::{Usage, Usd, price::PriceOptions};

use super::Inner;
use crate::{
    Demand, Event, Reason, Refusal, Reservation, Settlement, UnknownPrice,
    accounts::{Alert, Decision, DecisionRequest, Settled, Standing},
    counter::Wait,
    hold::Hold,
    reservation::Settle,
    telemetry,
    unknown_price::is_free,
};

impl Inner {
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

    /// Reserves or refuses, after a round trip if the decision needs one.
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
        Reservation::new(Arc::<Self>::clone(self), decision, models)
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
            return Ok(Reservation::new(Arc::<Self>::clone(self), decision, models));
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

    /// Emits an event for each alert share that was reached.
    fn emit(&self, alert: &Alert) {
        let Some(limit) = self.rules.load().limit(alert.group, alert.counter).cloned() else { return };
        let is_reached = |share: &&u8| alert.shares.from < **share && **share <= alert.shares.to;
        for percent in self.alert_shares.iter().filter(is_reached) {
            let until = SystemTime::UNIX_EPOCH + Duration::from_nanos(alert.until);
            let (limit, subject) = (Arc::clone(&limit), alert.values.clone());
            let event = Event { limit, subject, percent: *percent, spent: alert.used, until };
            self.sinks.iter().for_each(|sink| sink.emit(&event));
        }
    }
}

impl Settle for Inner {
    fn settle(self: Arc<Self>, holds: &[Hold], settlement: &Settlement) {
        // Only buckets that get something back, or pay more, must know the time.
        let moved = holds.iter().any(|hold| hold.is_moved_by(settlement));
        let now = if moved { self.now() } else { 0 };
        let Settled { alerts, debts, awaited } = self.accounts.settle(holds, settlement, now, &self.alert_shares);
        for (kind, amount) in debts {
            telemetry::debt(kind, amount);
        }
        for account_ref in awaited {
            self.drain(account_ref);
        }
        if self.closed.load(SeqCst) {
            self.settled.notify_waiters();
        }
        // Last, for what it calls is not ours.
        alerts.iter().for_each(|alert| self.emit(alert));
    }

    /// Returns the cost of a usage of a model by the table, or as it is assumed.
    fn cost(&self, model: &str, options: &PriceOptions, usage: &Usage) -> Option<Usd> {
        if !usage.is_plausible() {
            return None;
        }
        let listed = self.prices.as_ref().and_then(|prices| prices.current().cost_with(model, usage, options).ok());
        match self.unknown_price {
            UnknownPrice::Refuse => listed,
            UnknownPrice::Assume(price) => listed.or_else(|| price.cost(usage).filter(|_| !is_free(&price))),
        }
    }
}
