//! A call of the layer while it runs.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
};

use llm_core::{Allowance, Charge, Cut, End, Error, ErrorKind, Estimate, Facts, Origin, Receipt, Usage, Usd};

use crate::{Actual, CutOff, Demand, RateLimitLayer, Reservation, telemetry};

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
    pub(crate) fn cut_off(&self) -> CutOff {
        if self.settings.limiter.observes() { CutOff::Finish } else { self.settings.cut_off }
    }

    pub(crate) fn meter(&self) -> Meter {
        let output = self.demand.output.max(1);
        let portion = self.demand.portion(output);
        Meter { settings: self.settings.clone(), portion, reserved: self.demand.output, more: Arc::clone(&self.more) }
    }

    /// Lets those below ask for further attempts, unless so many as they may make are reserved.
    ///
    /// What is reserved goes on to cover the attempt that runs; one that failed is counted by itself when the next is
    /// asked for. A limiter above is asked, too.
    pub(crate) fn allowance(&self, above: Option<Allowance>) -> Option<Allowance> {
        if self.settings.attempts.is_some() {
            return above;
        }
        let (limiter, before) = (self.settings.limiter.clone(), Arc::clone(&self.before));
        let attempt = self.demand.more(self.demand.input, self.demand.output);
        Some(Allowance::new(move |failed| {
            let ask_above = || above.as_ref().map_or(Ok(()), |above| above.ask(failed));
            let actual = match failed {
                Charge::None => return ask_above(),
                Charge::Known(usage) => Actual::Used { usage, cost: None },
                Charge::Unknown => Actual::Unknown,
            };
            let reservation = match limiter.reserve_more(&attempt) {
                Ok(reservation) => Some(reservation),
                Err(_) if limiter.observes() => None,
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
            Charge::None if sent => Actual::Refused,
            Charge::Unknown if sent => Actual::Unknown,
            Charge::None | Charge::Unknown => Actual::Unsent,
        };
        self.settle(actual);
    }

    /// The answer ended.
    pub(crate) fn ended<C>(self, end: &End<'_, C>, receipt: &Receipt) {
        let facts = receipt.facts();
        let usage = facts.usage.or_else(|| match end {
            End::Failed(_, error) => known(error.charge()),
            End::Complete(_) | End::Dropped(_) => None,
        });
        let actual = match usage {
            _ if facts.origin != Origin::Vendor && !self.settings.counts_hits => {
                Actual::Used { usage: Usage::default(), cost: Some(Usd::ZERO) }
            }
            Some(usage) => self.used(&facts, usage),
            // An answer began, so it was sent, whether its client said so or not.
            None => Actual::Unknown,
        };
        self.settle(actual);
    }

    fn used(&self, facts: &Facts, usage: Usage) -> Actual {
        if facts.origin == Origin::Vendor {
            self.settings.estimator.learn(&self.demand.tenant, &self.demand.model, &self.estimate, &usage);
        }
        telemetry::settled(self.demand.input.saturating_add(self.demand.output), usage.total());
        // Otherwise the reservation prices it by the model asked.
        let answered = facts.model.as_deref().filter(|_| facts.fallback || self.demand.has_fallbacks());
        let listed = || self.settings.limiter.0.listed_cost(answered?, &usage);
        Actual::Used { usage, cost: facts.cost.or_else(listed) }
    }

    /// All attempts failed and used this much together.
    fn used_beyond(&self, before: &Usage, all: Usage) -> Actual {
        let cost =
            |usage: &Usage| self.demand.priced_as().highest_price(|model| self.settings.limiter.0.cost(model, usage));
        let cost = cost(&all).zip(cost(before)).map(|(all, before)| Usd::from_nanos(all.nanos() - before.nanos()));
        let (input, output) = (all.input.saturating_sub(before.input), all.output.saturating_sub(before.output));
        // The details tell a usage without a price from one with.
        Actual::Used { usage: Usage { input, output, ..all }, cost }
    }

    fn settle(self, actual: Actual) {
        self.reservation.settle(actual);
        let more = std::mem::take(&mut *self.more.lock().unwrap_or_else(PoisonError::into_inner));
        // The first settlement counted all that was used. Where that is unknown, all that was reserved is spent.
        let rest = if actual == Actual::Unknown { Actual::Unknown } else { Actual::Unsent };
        more.into_iter().for_each(|reservation| reservation.settle(rest));
    }
}

impl Meter {
    /// The stream has said so many bytes.
    pub(crate) fn pass(&mut self, bytes: u64) -> ControlFlow<Cut> {
        while bytes / BYTES > self.reserved {
            match self.settings.limiter.reserve_more(&self.portion) {
                Ok(mut reservation) => {
                    reservation.mark_sent();
                    self.more.lock().unwrap_or_else(PoisonError::into_inner).push(reservation);
                    self.reserved = self.reserved.saturating_add(self.portion.output);
                }
                Err(_) if self.settings.cut_off == CutOff::Truncate => return ControlFlow::Break(Cut::Finish),
                Err(refusal) => {
                    let message = format!("the answer was cut off: {refusal}");
                    let error = Error::new(ErrorKind::OverBudget, message).with_retryable(false);
                    return ControlFlow::Break(Cut::Fail(error.with_charge(Charge::Unknown).with_source(refusal)));
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
