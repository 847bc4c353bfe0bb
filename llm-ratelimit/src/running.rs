//! A call of the layer while it runs.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use llm_core::{
    Charge, Error, ErrorKind, Estimate, Origin, Receipt, Usage, Usd,
    layer::{Accounting, AttemptPermit, End, StreamCut},
};

use crate::{Demand, OverrunPolicy, RateLimitLayer, Reservation, Settlement, telemetry};

/// What a running call holds. Dropped, it settles as its reservations do.
pub(crate) struct Running {
    settings: RateLimitLayer,
    demand: Demand,
    estimate: Estimate,
    reservation: Reservation,
    /// What a stream asked for beyond its reservation.
    more: More,
    /// What attempts before the last one are known to have used. It is counted already.
    before: Arc<Mutex<Usage>>,
}

type More = Arc<Mutex<Vec<Reservation>>>;

/// Watches how much a stream says.
pub(crate) struct Meter {
    settings: RateLimitLayer,
    /// One more portion.
    portion: Demand,
    /// Output tokens that are paid for.
    reserved: u64,
    more: More,
}

/// Bytes of text in a token, likely: what a stream has said is not told in tokens.
const BYTES: u64 = 4;

impl Running {
    pub(crate) fn new(settings: RateLimitLayer, demand: Demand, estimate: Estimate, reservation: Reservation) -> Self {
        let (more, before) = Default::default();
        Self { settings, demand, estimate, reservation, more, before }
    }

    /// What becomes of a stream that says too much; where the limiter only observes, nothing.
    pub(crate) fn overrun(&self) -> OverrunPolicy {
        if self.settings.limiter.is_shadow() { OverrunPolicy::Finish } else { self.settings.cut_off }
    }

    pub(crate) fn meter(&self) -> Meter {
        Meter {
            settings: self.settings.clone(),
            portion: self.portion(),
            reserved: self.demand.output,
            more: Arc::clone(&self.more),
        }
    }

    /// Lets those below ask for further attempts, unless so many as they may make are reserved.
    ///
    /// What is reserved goes on to cover the attempt that runs; one that failed is counted by itself when the next is
    /// asked for. A limiter above is asked, too.
    pub(crate) fn allowance(&self, above: Option<AttemptPermit>) -> Option<AttemptPermit> {
        if self.settings.attempts.is_some() {
            return above;
        }
        let (limiter, before) = (self.settings.limiter.clone(), Arc::clone(&self.before));
        let attempt = self.demand.more(self.demand.input, self.demand.output);
        Some(AttemptPermit::new(move |failed| {
            let ask_above = || above.as_ref().map_or(Ok(()), |above| above.ask(failed));
            let actual = match failed {
                Charge::None => return ask_above(),
                Charge::Known(usage) => Settlement::Used { usage, cost: None },
                Charge::Unknown => Settlement::Unknown,
            };
            let reservation = match limiter.reserve_more(&attempt) {
                Ok(reservation) => Some(reservation),
                Err(_) if limiter.is_shadow() => None,
                Err(refusal) => return Err(refusal.into()),
            };
            // Refused there, it is given back here.
            ask_above()?;
            reservation.into_iter().for_each(|reservation| reservation.settle(actual));
            if let Charge::Known(usage) = failed {
                *before.lock().unwrap_or_else(PoisonError::into_inner) += usage;
            }
            Ok(())
        }))
    }

    /// It ended without a reply.
    pub(crate) fn refused(self, error: &Error) {
        let sent = self.reservation.is_sent();
        let before = *self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let actual = match error.charge() {
            Charge::Known(usage) => self.used_beyond(&before, usage),
            Charge::None if sent => Settlement::Refused,
            Charge::Unknown if sent => Settlement::Unknown,
            Charge::None | Charge::Unknown => Settlement::Unsent,
        };
        self.settle(actual);
    }

    /// The answer ended.
    pub(crate) fn ended<C>(self, end: &End<'_, C>, receipt: &Receipt) {
        let facts = receipt.accounting();
        let usage = facts.usage.or_else(|| match end {
            End::Failed(_, error) => known(error.charge()),
            End::Complete(_) | End::Dropped(_) => None,
        });
        let actual = match usage {
            _ if facts.origin != Origin::Vendor && !self.settings.counts_hits => {
                Settlement::Used { usage: Usage::default(), cost: Some(Usd::ZERO) }
            }
            Some(usage) => self.used(&facts, usage),
            // An answer began, so it was sent, whether its client said so or not.
            None => facts.usage_so_far.map_or(Settlement::Unknown, |usage| self.broke_off(&facts, usage)),
        };
        self.settle(actual);
    }

    /// It broke off after it used this much. What more it used is unknown, so what it reserved counts as used.
    fn broke_off(&self, facts: &Accounting, so_far: Usage) -> Settlement {
        let portions = self.more().len() as u64 * self.portion().output;
        let output = so_far.output.saturating_sub(portions).max(self.demand.output);
        let usage = Usage { input: so_far.input.max(self.demand.input), output, ..so_far };
        Settlement::AtLeast { usage, cost: self.listed_cost(facts, &usage) }
    }

    fn used(&self, facts: &Accounting, usage: Usage) -> Settlement {
        if facts.origin == Origin::Vendor {
            self.settings.estimator.learn(&self.demand.tenant, &self.demand.model, &self.estimate, &usage);
        }
        telemetry::settled(self.demand.input.saturating_add(self.demand.output), usage.total());
        Settlement::Used { usage, cost: facts.cost.or_else(|| self.listed_cost(facts, &usage)) }
    }

    /// Returns the cost by the model that answered. Where that is not known, the reservation prices the usage.
    fn listed_cost(&self, facts: &Accounting, usage: &Usage) -> Option<Usd> {
        let is_known = facts.model.is_some() || !self.demand.has_fallbacks();
        self.settings.limiter.0.cost_of(&self.demand.model, facts, usage).filter(|_| is_known)
    }

    /// All attempts failed and used this much together.
    fn used_beyond(&self, before: &Usage, all: Usage) -> Settlement {
        let (models, limiter) = (self.demand.priced_as(), &self.settings.limiter.0);
        let cost = |usage: &Usage| models.highest_cost(|model, options| limiter.cost(model, options, usage));
        let cost = cost(&all).zip(cost(before)).map(|(all, before)| Usd::from_nanos(all.nanos() - before.nanos()));
        Settlement::Used { usage: all.saturating_sub(*before), cost }
    }

    fn settle(self, actual: Settlement) {
        let more = std::mem::take(&mut *self.more());
        self.reservation.settle(actual);
        // The first settlement counted all that was used. Where that is unknown, all that was reserved is spent.
        let rest = match actual {
            Settlement::Unknown | Settlement::AtLeast { .. } => Settlement::Unknown,
            _ => Settlement::Unsent,
        };
        more.into_iter().for_each(|reservation| reservation.settle(rest));
    }

    fn more(&self) -> MutexGuard<'_, Vec<Reservation>> {
        self.more.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a stream asks for at a time beyond its reservation.
    fn portion(&self) -> Demand {
        self.demand.portion(self.demand.output.max(1))
    }
}

impl Meter {
    /// The stream has said so many bytes.
    pub(crate) fn pass(&mut self, bytes: u64) -> ControlFlow<StreamCut> {
        while bytes / BYTES > self.reserved {
            match self.settings.limiter.reserve_more(&self.portion) {
                Ok(mut reservation) => {
                    reservation.mark_sent();
                    self.more.lock().unwrap_or_else(PoisonError::into_inner).push(reservation);
                    self.reserved = self.reserved.saturating_add(self.portion.output);
                }
                Err(_) if self.settings.cut_off == OverrunPolicy::Truncate => {
                    return ControlFlow::Break(StreamCut::Finish);
                }
                Err(refusal) => {
                    let message = format!("the answer was cut off: {refusal}");
                    let error = Error::new(ErrorKind::OverBudget, message).with_retryable(false);
                    return ControlFlow::Break(StreamCut::Fail(
                        error.with_charge(Charge::Unknown).with_source(refusal),
                    ));
                }
            }
        }
        ControlFlow::Continue(())
    }
}

fn known(charge: Charge) -> Option<Usage> {
    match charge {
        Charge::Known(usage) => Some(usage),
        Charge::None | Charge::Unknown => None,
    }
}
