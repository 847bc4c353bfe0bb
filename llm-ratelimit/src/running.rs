//! Running call of the layer.

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use llm_core::{
    Charge, Error, ErrorKind, Estimate, Operation, Origin, Receipt, Usage, Usd,
    layer::{Accounting, AttemptPermit, Complete, End, LateEnd, SentFlag, StreamCut},
};

use crate::{
    Demand, OverrunPolicy, RateLimitLayer, Reservation, Settlement,
    hold::{Held, Settle},
    telemetry,
};

/// Running call with its reservation. If the value is dropped, the reservation settles by whether the call was sent.
pub(crate) struct Running {
    state: Arc<CallState>,
    is_settled: bool,
}

/// Running call whose caller waits for the reply. Dropping it means that the caller has cancelled the call.
pub(crate) struct AwaitedCall(Option<Running>);

/// State of a running call, which further attempts and the meter share, and which may outlive the call.
pub(crate) struct CallState {
    settings: Arc<RateLimitLayer>,
    demand: Demand,
    estimate: Estimate,
    progress: Mutex<Progress>,
}

/// Reservations and failed attempts of a running call; empty after the end of the call.
struct Progress {
    held: Held,
    /// Further reservations that were made for a stream's output.
    more: Vec<Reservation>,
    /// Failed attempts, boxed because most calls have none.
    failed: Option<Box<Failed>>,
}

/// Failed attempts of a call that may be sent again.
struct Failed {
    /// Number of times that the call had been sent when the latest attempt failed.
    times_sent: u32,
    /// Settlement of the call, in case it is not sent again.
    settlement: Settlement,
    /// Known usage and cost of the attempts before the latest one, which have been counted already.
    before: Spent,
}

/// Known usage of failed attempts, and its cost; `None` if the cost of one of them is unknown.
#[derive(Clone, Copy)]
struct Spent {
    usage: Usage,
    cost: Option<Usd>,
}

/// Meter of a stream's output, which reserves more when the reservation is used up.
pub(crate) struct Meter {
    call: Arc<CallState>,
    /// Demand for one further portion of output.
    portion: Demand,
    /// Number of output tokens that have been reserved. Only one decision about the stream runs at a time.
    reserved: AtomicU64,
}

/// Assumed number of bytes in a token, because the length of a running stream is known only in bytes.
const BYTES: u64 = 4;

impl Running {
    /// Creates a running call that keeps the amounts of `held` until it is settled.
    pub(crate) fn new(settings: Arc<RateLimitLayer>, demand: Demand, estimate: Estimate, held: Held) -> Self {
        let progress = Mutex::new(Progress { held, more: Vec::new(), failed: None });
        Self { state: Arc::new(CallState { settings, demand, estimate, progress }), is_settled: false }
    }

    /// Returns the policy for a stream that exceeds its reservation. In shadow mode the stream continues.
    pub(crate) fn overrun(&self) -> OverrunPolicy {
        let settings = &self.state.settings;
        if settings.limiter.is_shadow() { OverrunPolicy::Finish } else { settings.overrun }
    }

    pub(crate) fn meter(&self) -> Meter {
        Meter {
            call: Arc::clone(&self.state),
            portion: self.state.portion(),
            reserved: self.state.demand.output.into(),
        }
    }

    /// Returns the permit by which layers below request further attempts. If the reservation covers all attempts
    /// already, it is the permit of the limiter above.
    ///
    /// The reservation covers the current attempt. A failed attempt is counted separately when the next one is
    /// requested.
    pub(crate) fn permit(&self, above: Option<AttemptPermit>) -> Option<AttemptPermit> {
        if self.state.settings.attempts.is_some() {
            return above;
        }
        let call = Arc::clone(&self.state);
        Some(AttemptPermit::new(move |failed| Arc::clone(&call).allow(failed, above.clone())))
    }

    /// Settles a call that failed without a reply.
    pub(crate) fn refused(self, error: &Error) {
        let settlement = match self.state.failed(error) {
            Settlement::Used { usage, cost } => {
                let before = self.state.progress().before();
                let cost = cost.zip(before.cost).map(|(all, before)| all - before);
                Settlement::Used { usage: usage.saturating_sub(before.usage), cost }
            }
            settlement if self.state.progress().held.is_sent() => settlement,
            _ => Settlement::Unsent,
        };
        self.settle(settlement);
    }

    /// Settles a call whose response has ended.
    pub(crate) fn ended<T: Operation>(self, end: &End<'_, Complete<T>>, receipt: &Receipt) {
        let error = if let End::Failed(_, error) = end { Some(error) } else { None };
        let settlement = receipt.edit(|facts| {
            let usage = facts.usage.or_else(|| known(error?.charge()));
            match error {
                Some(error) if usage.is_none() && error.charge() == Charge::None => Settlement::Refused,
                _ => self.settlement(facts, usage, T::response_model(end.response())),
            }
        });
        self.settle(settlement);
    }

    /// Returns the settlement of a call whose reply has this accounting and this usage, and lets the estimator learn
    /// from the usage.
    fn settlement(&self, facts: &Accounting, usage: Option<Usage>, response_model: Option<&Arc<str>>) -> Settlement {
        let CallState { settings, demand, estimate, .. } = &*self.state;
        let usage = match usage {
            _ if facts.origin != Origin::Vendor && !settings.charge_cache_hits => {
                return Settlement::Used { usage: Usage::default(), cost: Some(Usd::ZERO) };
            }
            Some(usage) => usage,
            // The response has begun, so the call was sent, even if its client did not mark it.
            None => {
                let broke_off = |usage| self.state.broke_off(facts, usage, response_model);
                return facts.usage_so_far.map_or(Settlement::Unknown, broke_off);
            }
        };
        if facts.origin == Origin::Vendor {
            settings.estimator.learn(&demand.tenant, &demand.model, estimate, &usage);
        }
        telemetry::settled(demand.input.saturating_add(demand.output), usage.total());
        let cost = facts.cost.or_else(|| self.state.listed_cost(facts, &usage, response_model));
        Settlement::Used { usage, cost }
    }

    /// Handles the cancellation by the caller. If the call continues as a part of a merged call, it settles by its
    /// share when the merged call ends.
    fn leave(self) {
        let flag = self.state.progress().held.flag.clone();
        if let Some(flag) = flag {
            flag.leave(move |end| match end {
                LateEnd::Complete(receipt) => {
                    let settlement = receipt.edit(|facts| self.settlement(facts, facts.usage, None));
                    self.settle(settlement);
                }
                LateEnd::Failed(error) => self.refused(&error),
                // Dropping the call settles it by whether it was sent.
                _ => drop(self),
            });
        }
    }

    fn settle(mut self, settlement: Settlement) {
        self.is_settled = true;
        let (mut held, more) = self.state.progress().end();
        held.settle(settlement);
        // The first settlement counts the whole usage. If the usage is unknown, the further reservations count as
        // spent.
        let rest = match settlement {
            Settlement::Unknown | Settlement::AtLeast { .. } => Settlement::Unknown,
            _ => Settlement::Unsent,
        };
        more.into_iter().for_each(|reservation| reservation.settle(rest));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        let mut progress = self.state.progress();
        let settlement = progress.between_attempts();
        let (mut held, more) = progress.end();
        drop(progress);
        if let Some(settlement) = settlement {
            held.settle(settlement);
        }
        // Dropping the remaining reservations settles them by whether the call was sent.
        drop((held, more));
    }
}

impl Progress {
    /// Takes the amounts that the call holds, and its further reservations.
    fn end(&mut self) -> (Held, Vec<Reservation>) {
        (std::mem::take(&mut self.held), std::mem::take(&mut self.more))
    }

    /// Returns the settlement of a call that was not sent again after a failed attempt.
    fn between_attempts(&self) -> Option<Settlement> {
        let failed = self.failed.as_ref().filter(|failed| failed.times_sent == self.times_sent());
        failed.filter(|_| self.held.is_sent()).map(|failed| failed.settlement)
    }

    /// Sets the settlement for the case that the call is not sent again.
    fn fail(&mut self, settlement: Settlement) -> &mut Failed {
        let (times_sent, before) = (self.times_sent(), self.before());
        self.failed.insert(Box::new(Failed { times_sent, settlement, before }))
    }

    /// Returns the usage and cost of the attempts that have been counted already.
    fn before(&self) -> Spent {
        self.failed.as_ref().map_or_else(Spent::default, |failed| failed.before)
    }

    fn times_sent(&self) -> u32 {
        self.held.flag.as_ref().map_or(0, SentFlag::times_sent)
    }
}

impl AwaitedCall {
    pub(crate) fn new(running: Running) -> Self {
        Self(Some(running))
    }

    /// Returns the running call after its reply has arrived. Dropping the call is no cancellation from then on.
    pub(crate) fn arrived(mut self) -> Running {
        self.0.take().expect("only its end and its drop take it")
    }
}

impl Drop for AwaitedCall {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Running::leave);
    }
}

impl CallState {
    /// Counts a failed attempt, and permits the next one if there is room for it here and in the limiters above.
    ///
    /// If the future is dropped before it is ready, nothing is counted here, and the call settles by the failed
    /// attempt, unless it is sent again.
    async fn allow(self: Arc<Self>, failed: Error, above: Option<AttemptPermit>) -> Result<(), Error> {
        let ask_above = async || match &above {
            Some(above) => above.request(&failed).await,
            None => Ok(()),
        };
        let settlement = self.failed(&failed);
        self.progress().fail(settlement);
        if settlement == Settlement::Refused {
            return ask_above().await;
        }
        let limiter = &self.settings.limiter;
        let reservation = match limiter.reserve_more(&self.demand.more(self.demand.input, self.demand.output)).await {
            Ok(reservation) => Some(reservation),
            Err(_) if limiter.is_shadow() => None,
            Err(refusal) => return Err(refusal.into()),
        };
        // If a limiter above refuses, the reservation made here is returned.
        ask_above().await?;
        reservation.into_iter().for_each(|reservation| reservation.settle(settlement));
        let mut progress = self.progress();
        // The attempt has been counted separately, so only the request of the call remains to be counted.
        let failed = progress.fail(Settlement::Refused);
        if let Settlement::Used { usage, cost } = settlement {
            failed.before = failed.before.and(usage, cost);
        }
        Ok(())
    }

    /// Returns the settlement of failed attempts, each of which is priced by its own model and service class.
    fn failed(&self, error: &Error) -> Settlement {
        let so_far = || Some((error.accounting()?, error.accounting()?.usage_so_far?));
        match error.charge() {
            Charge::None => Settlement::Refused,
            Charge::Unknown => {
                so_far().map_or(Settlement::Unknown, |(facts, usage)| self.broke_off(facts, usage, None))
            }
            Charge::Known(_) => {
                let Spent { usage, cost } = error.attempts().fold(Spent::default(), |spent, attempt| {
                    let Some(usage) = known(attempt.charge) else { return spent };
                    let own = attempt.accounting.and_then(|facts| self.listed_cost(&facts, &usage, None));
                    spent.and(usage, own.or_else(|| self.highest_cost(&usage)))
                });
                Settlement::Used { usage, cost }
            }
        }
    }

    /// Returns the settlement of a call that broke off after this usage. Because its further usage is unknown, the
    /// whole reservation counts as used.
    fn broke_off(&self, facts: &Accounting, so_far: Usage, response_model: Option<&Arc<str>>) -> Settlement {
        let portions = self.progress().more.len() as u64 * self.portion().output;
        let output = so_far.output.saturating_sub(portions).max(self.demand.output);
        let usage = Usage { input: so_far.input.max(self.demand.input), output, ..so_far };
        Settlement::AtLeast { usage, cost: self.listed_cost(facts, &usage, response_model) }
    }

    /// Returns the cost at the price of the model that answered, which the accounting or the response names. If neither
    /// does, the models of the reservation price the usage.
    fn listed_cost(&self, facts: &Accounting, usage: &Usage, response_model: Option<&Arc<str>>) -> Option<Usd> {
        let mut facts = facts.clone();
        facts.model = facts.model.or_else(|| response_model.cloned());
        if facts.model.is_none() && self.demand.has_fallbacks() {
            return None;
        }
        let cost = |facts: &Accounting| self.settings.limiter.0.cost_of(&self.demand.model, facts, usage);
        cost(&facts).or_else(|| {
            // For a provider that the table does not list, the prices by which the call was reserved apply.
            facts.provider.clone_from(&self.demand.provider);
            cost(&facts)
        })
    }

    /// Returns the highest cost among the models that may have answered.
    fn highest_cost(&self, usage: &Usage) -> Option<Usd> {
        self.demand.priced_as().highest_cost(|model, options| self.settings.limiter.0.cost(model, options, usage))
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // The lock guards plain data that is consistent after every statement.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the demand of a stream for one further portion of output.
    fn portion(&self) -> Demand {
        self.demand.portion(self.demand.output.max(1))
    }
}

impl Spent {
    /// Adds the usage and the cost of an attempt.
    fn and(self, usage: Usage, cost: Option<Usd>) -> Self {
        Self { usage: self.usage + usage, cost: self.cost.zip(cost).map(|(all, one)| all + one) }
    }
}

impl Default for Spent {
    fn default() -> Self {
        Self { usage: Usage::default(), cost: Some(Usd::ZERO) }
    }
}

impl Meter {
    /// Compares `bytes`, the length of the stream so far, with the reservation. Reserves more if it is exceeded, and
    /// breaks with the cut of the stream if there is no room.
    pub(crate) async fn pass(self: Arc<Self>, bytes: u64) -> ControlFlow<StreamCut> {
        while bytes / BYTES > self.reserved.load(Relaxed) {
            match self.call.settings.limiter.reserve_more(&self.portion).await {
                Ok(mut reservation) => {
                    reservation.mark_sent();
                    self.call.progress().more.push(reservation);
                    self.reserved.fetch_add(self.portion.output, Relaxed);
                }
                Err(_) if self.call.settings.overrun == OverrunPolicy::Truncate => {
                    return ControlFlow::Break(StreamCut::Finish);
                }
                Err(refusal) => {
                    let message = format!("the response was cut off: {refusal}");
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
