//! Reservation and settlement of calls.

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
    Demand, Event, LimitStatuses, Reason, Refusal, Reservation, Settlement, UnknownPrice,
    accounts::{Alert, Decision, DecisionRequest, Settled, Standing},
    blocked::Blocked,
    counter::Wait,
    hold::{Held, Hold, Settle},
    rules::PlanRules,
    telemetry,
    unknown_price::is_free,
};

impl Inner {
    /// Reserves the amounts that a call needs, without waiting and by the data of this process alone. Reports a
    /// refusal.
    pub(crate) fn try_reserve(self: &Arc<Self>, demand: &Demand) -> Result<Reservation, Refusal> {
        let mut rules = self.rules.read();
        let plan = rules.of(&demand.tenant);
        let refusal = match self.admit(demand, plan) {
            Ok(cost) => {
                let demand = &*priced(demand, cost);
                let request = DecisionRequest { demand, plan, at: self.decision_time(), standing: Standing::New };
                let mut reservation = Reservation(Decision::new(&request));
                self.accounts.try_decide(&request, &mut reservation.0);
                match self.conclude(&request, &mut reservation.0) {
                    Ok(()) => match self.withdraws(&reservation) {
                        None => return Ok(reservation),
                        Some(refusal) => refusal,
                    },
                    Err(obstacle) => refusal(reservation.0, obstacle),
                }
            }
            Err(refusal) => refusal,
        };
        self.refused(&refusal);
        Err(refusal)
    }

    /// Decides about a call at once. Returns `None`, and takes nothing, if the decision needs a round trip.
    pub(crate) fn reserve_at_once(
        self: &Arc<Self>,
        demand: &Demand,
        standing: Standing,
    ) -> Option<Result<Reservation, Refusal>> {
        let mut rules = self.rules.read();
        let plan = rules.of(&demand.tenant);
        let demand = match self.admit(demand, plan) {
            Ok(cost) => &*priced(demand, cost),
            Err(refusal) => return Some(Err(refusal)),
        };
        let request = DecisionRequest { demand, plan, at: self.decision_time(), standing };
        let mut reservation = Reservation(Decision::new(&request));
        // A decision whose future was not polled has taken nothing.
        if self.accounts.decide(&request, &mut reservation.0).is_some() {
            return None;
        }
        match self.conclude(&request, &mut reservation.0) {
            Ok(()) => Some(Ok(reservation)),
            Err(obstacle) => Some(Err(refusal(reservation.0, obstacle))),
        }
    }

    /// Reserves the amounts that a call needs, or refuses the call, after a round trip if the decision needs one.
    pub(crate) async fn reserve(self: &Arc<Self>, demand: &Demand, standing: Standing) -> Result<Reservation, Refusal> {
        let plan = self.rules.of(&demand.tenant);
        let demand = &*priced(demand, self.admit(demand, &plan)?);
        let request = DecisionRequest { demand, plan: &plan, at: self.decision_time(), standing };
        let mut reservation = Reservation(Decision::new(&request));
        if let Some(round_trip) = self.accounts.decide(&request, &mut reservation.0) {
            round_trip.await;
        }
        match self.conclude(&request, &mut reservation.0) {
            Ok(()) => Ok(reservation),
            Err(obstacle) => Err(refusal(reservation.0, obstacle)),
        }
    }

    /// Makes calendar windows count a call that is sent although it was refused. Returns the reservation of the call.
    pub(crate) async fn record(self: &Arc<Self>, demand: &Demand) -> Reservation {
        let plan = self.rules.of(&demand.tenant);
        let demand = &*priced(demand, self.missing_cost(demand, &plan).unwrap_or(None));
        let (at, standing) = (self.decision_time(), Standing::Regardless);
        let request = DecisionRequest { demand, plan: &plan, at, standing };
        let mut reservation = Reservation(Decision::new(&request));
        if let Some(round_trip) = self.accounts.decide(&request, &mut reservation.0) {
            round_trip.await;
        }
        self.hold(&request, &mut reservation.0.held);
        reservation
    }

    /// Returns a refusal for a call that must be refused even if there is room. Otherwise returns the cost, if a limit
    /// counts money and the demand states no cost.
    #[inline]
    fn admit(&self, demand: &Demand, plan: &Arc<PlanRules>) -> Result<Option<Usd>, Refusal> {
        let cost = self.missing_cost(demand, plan)?;
        match self.always_refuses(demand, plan) {
            Some(reason) => Err(self.refuse(reason, plan)),
            None => Ok(cost),
        }
    }

    /// Grants a call that has taken all amounts that it needs. Returns the obstacle of a call that has taken nothing.
    /// The decision is not moved, because copying a reservation would take longer than some of its steps. The queue
    /// must not be locked: see [`obstacle`](Self::obstacle).
    #[inline]
    fn conclude(self: &Arc<Self>, request: &DecisionRequest<'_>, decision: &mut Decision) -> Result<(), Obstacle> {
        match (decision.refused, &decision.blocked) {
            (Some(reason), _) => {
                decision.blocked = None;
                Err((reason, None))
            }
            (None, Some(blocked)) => Err(self.obstacle(request.demand, &decision.statuses, blocked)),
            (None, None) => {
                self.grant(request, &mut decision.held);
                Ok(())
            }
        }
    }

    /// Returns the reason for a refusal, and the time until a retry, which includes the time for the calls that already
    /// wait. The queue must not be locked.
    fn obstacle(&self, demand: &Demand, statuses: &LimitStatuses, blocked: &Blocked) -> Obstacle {
        let reason = match blocked.wait {
            Wait::Ever if demand.is_unbounded() => return (Reason::Unbounded, None),
            Wait::Ever => return (Reason::TooLarge, None),
            Wait::Nanos(_) | Wait::Unknown | Wait::Not => Reason::UsedUp,
        };
        let own = if let Wait::Nanos(nanos) = blocked.wait { Some(Duration::from_nanos(nanos)) } else { None };
        (reason, own.max(self.behind(demand, statuses, blocked)))
    }

    /// Counts a granted call, and makes it hold the amounts that it took.
    #[inline]
    fn grant(self: &Arc<Self>, request: &DecisionRequest<'_>, held: &mut Held) {
        self.counts.granted.increment();
        telemetry::granted(&request.plan.name);
        self.hold(request, held);
    }

    /// Makes a call hold the amounts that it took until it is settled. If a limit of the plan counts money, the call
    /// also keeps the models by which it is priced.
    #[inline]
    fn hold(self: &Arc<Self>, request: &DecisionRequest<'_>, held: &mut Held) {
        if request.plan.priced {
            held.models = Some(request.demand.priced_as());
        }
        held.limiter = Some(Arc::<Self>::clone(self));
    }

    /// Turns a reservation that was made while the limiter was being closed into a refusal, and counts refusals.
    pub(crate) fn report(&self, outcome: &mut Result<Reservation, Refusal>) {
        if let Some(refusal) = outcome.as_ref().ok().and_then(|reservation| self.withdraws(reservation)) {
            *outcome = Err(refusal);
        }
        if let Err(refusal) = outcome {
            self.refused(refusal);
        }
    }

    /// Returns a refusal if the limiter was closed after the call took its amounts. The caller must return the amounts,
    /// because `close` does not wait for them.
    #[inline]
    fn withdraws(&self, reservation: &Reservation) -> Option<Refusal> {
        let is_closed = self.closed.load(Relaxed);
        is_closed.then(|| Refusal::new(Reason::Closed, reservation.limit_statuses().clone()))
    }

    /// Reports the results of a settlement, and serves waiting calls.
    pub(crate) fn conclude_settlement(self: &Arc<Self>, settled: Settled) {
        let Settled { alerts, debts, awaited } = settled;
        for (kind, amount) in debts {
            telemetry::debt(kind, amount);
        }
        for account_ref in awaited {
            self.drain(account_ref);
        }
        if self.closed.load(SeqCst) {
            self.settled.notify_waiters();
        }
        // Events are emitted last, because a sink is code of the application and may panic.
        alerts.iter().for_each(|alert| self.emit(alert));
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
        // The time is needed only for a bucket that gets an amount back or is charged more.
        let moved = holds.iter().any(|hold| hold.is_moved_by(settlement));
        let now = if moved { self.now() } else { 0 };
        let settled = self.accounts.settle(holds, settlement, now, &self.alert_shares);
        self.conclude_settlement(settled);
    }

    /// Returns the cost of a model's usage by the price table, or by the assumed price if the table has no price;
    /// `None` if there is neither.
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

/// Reason for a refusal, and the time until a retry.
type Obstacle = (Reason, Option<Duration>);

/// Creates the refusal of a call that has taken nothing.
#[inline]
fn refusal(Decision { statuses, blocked, cause, .. }: Decision, (reason, retry_after): Obstacle) -> Refusal {
    let mut refusal = Refusal::blocked(reason, blocked, retry_after, statuses);
    refusal.cause = cause;
    refusal
}

/// Adds the computed cost to a demand that states none.
#[inline]
fn priced(demand: &Demand, cost: Option<Usd>) -> Cow<'_, Demand> {
    cost.map_or(Cow::Borrowed(demand), |cost| Cow::Owned(demand.clone().cost(cost)))
}
