use std::{any::TypeId, sync::Arc};

use llm_core::{
    Amount, Charge, ChatStream, Error, Operation, Receipt, Usage, Usd,
    layer::{Accounting, Complete, CostShare, End, Members, SentFlag},
    price::UnknownCost,
};

use super::{Attempt, Charged, Ledger, Outcome, keys::Keys, meter::Meter, stack_faults::StackFault, terms::Terms};

/// Running attempt at a vendor. If this value is dropped before the attempt ends, the attempt is booked as abandoned.
#[derive(Debug)]
pub struct RunningAttempt {
    ledger: Ledger,
    keys: Keys,
    /// Members of the call, if it is a merged one.
    members: Option<Members>,
    sent: SentFlag,
    terms: Terms,
    meter: Meter,
    ended: bool,
}

/// Amount paid for a response that may still be used or wasted.
struct Open {
    ledger: Ledger,
    keys: Keys,
    amount: Usd,
}

impl RunningAttempt {
    pub(super) fn new<T: Operation>(
        ledger: &Ledger,
        keys: Keys,
        members: Option<Members>,
        sent: SentFlag,
        terms: Terms,
    ) -> Self {
        let is_streamed = TypeId::of::<T::Output>() == TypeId::of::<ChatStream>();
        let meter = Meter::begin(T::NAME, is_streamed, &keys.model, terms.lists(&keys.model));
        Self { ledger: ledger.clone(), keys, members, sent, terms, meter, ended: false }
    }

    /// Records that the reply has arrived. The response may still be streamed.
    pub(super) fn replied(&self) {
        if !self.sent.is_sent() {
            self.ledger.stack_faults().note(StackFault::UnmarkedCalls);
        }
        self.meter.replied(self.sent.vendor());
    }

    /// Ends the attempt without booking it, because a layer below responded in place of a vendor.
    pub(super) fn skip(mut self) {
        self.ended = true;
    }

    /// Books an attempt that failed without a reply.
    pub(super) fn refused(mut self, error: &Error) {
        self.meter.failed(self.sent.vendor(), error.kind());
        let accounting = error.accounting().cloned().unwrap_or_default();
        let (usage, charged) = match error.charge() {
            Charge::None => (None, Charged::Nothing),
            Charge::Unknown => (None, self.unknown()),
            Charge::Known(usage) => {
                let usage = Some(usage).filter(Usage::is_plausible);
                (usage, self.charged(usage, &self.cost_of_attempts(error)))
            }
        };
        let mut attempt = self.finished(Outcome::Failed, usage, charged, &accounting);
        attempt.request_id = error.request_id().map(Into::into).or(attempt.request_id);
        self.book(attempt);
    }

    /// Books an attempt whose response has ended.
    pub(super) fn ended<T: Operation>(mut self, end: &End<'_, Complete<T>>, receipt: &Receipt) {
        let outcome = match end {
            End::Complete(_) => Outcome::Complete,
            End::Failed(_, error) => {
                self.meter.failed(self.sent.vendor(), error.kind());
                Outcome::Failed
            }
            End::Dropped(_) => Outcome::Abandoned,
        };
        let mut accounting = receipt.accounting();
        accounting.model = accounting.model.or_else(|| T::response_model(end.response()).cloned());
        let usage = accounting.usage.or_else(|| match end {
            End::Failed(_, error) => known(error.charge()),
            _ => None,
        });
        let is_free = usage.is_none() && accounting.cost.is_none();
        let is_free = is_free && matches!(end, End::Failed(_, error) if error.charge() == Charge::None);
        let usage = usage.filter(Usage::is_plausible);
        let (cost, charged) = match is_free {
            true => (Ok(Usd::ZERO), Charged::Nothing),
            false => {
                let cost = self.cost(&accounting, usage);
                let charged = self.charged(usage, &cost);
                (cost, charged)
            }
        };
        self.book(self.finished(outcome, usage, charged, &accounting));
        let share = cost.as_ref().ok().filter(|_| outcome == Outcome::Complete).map(|cost| self.share(*cost));
        let list = cost.clone().and_then(|cost| self.terms.list(&self.keys.model, &accounting, usage.as_ref(), cost));
        let replaced = receipt.edit(|accounting| {
            accounting.paid = Some(cost.clone().map_or_else(Amount::unknown, Amount::from));
            accounting.set_prices(cost, list);
            std::mem::replace(&mut accounting.cost_share, share)
        });
        if replaced.is_some() {
            self.ledger.stack_faults().note(StackFault::TwoAttemptsLayers);
        }
        // The replaced cost share is dropped only now, when the receipt is not locked, because the share's callback may
        // read the receipt.
        drop(replaced);
    }

    /// Adds up the cost of failed attempts, each by its own model and service class.
    fn cost_of_attempts(&self, error: &Error) -> Result<Usd, UnknownCost> {
        let known = error.attempts().filter_map(|attempt| Some((known(attempt.charge)?, attempt.accounting)));
        let costs = known.map(|(usage, accounting)| {
            self.cost(
                &accounting.map(Arc::unwrap_or_clone).unwrap_or_default(),
                Some(usage).filter(Usage::is_plausible),
            )
        });
        costs.sum()
    }

    /// Returns the cost of an attempt with this usage.
    fn cost(&self, accounting: &Accounting, usage: Option<Usage>) -> Result<Usd, UnknownCost> {
        match (usage, accounting.cost, &accounting.unusable_usage, accounting.usage) {
            (Some(usage), ..) => self.terms.cost(&self.keys.model, accounting, &usage),
            // If a server states only zeros, the usage is unknown.
            (None, Some(stated), ..) if !stated.is_zero() => Ok(stated),
            (None, _, Some(stated), _) => Err(UnknownCost::UnusableUsage { stated: stated.clone() }),
            // An implausible usage has no cost, and the price table returns the error for it.
            (None, _, None, Some(stated)) => self.terms.cost(&self.keys.model, accounting, &stated),
            (None, _, None, None) => Err(UnknownCost::NoUsage),
        }
    }

    fn charged(&self, usage: Option<Usage>, cost: &Result<Usd, UnknownCost>) -> Charged {
        match (cost, usage) {
            (Ok(cost), _) => Charged::Paid(*cost),
            (Err(cause), Some(_)) => Charged::Unpriced(cause.clone()),
            // The call must have been sent, even if its client did not mark it.
            (Err(_), None) => Charged::Unconfirmed(self.terms.bound.clone().ok()),
        }
    }

    /// Returns the cost share that the response may take. The cost share of a merged call consists of one share for
    /// each member.
    fn share(&self, cost: Usd) -> CostShare {
        let share = |keys: Keys, amount: Usd| {
            let open = Open { ledger: self.ledger.clone(), keys, amount };
            CostShare::new(amount, move |lost| open.settle(lost))
        };
        match &self.members {
            None => share(self.keys.clone(), cost),
            Some(members) => {
                let amounts = cost.split(&members.weights());
                let shares = members.iter().zip(amounts);
                CostShare::each(shares.map(|(member, amount)| share(self.keys.of_caller(member), amount)).collect())
            }
        }
    }

    /// Returns the charge of an attempt that ended without a usage.
    fn unknown(&self) -> Charged {
        match self.sent.is_sent() {
            true => Charged::Unconfirmed(self.terms.bound.clone().ok()),
            false => Charged::Nothing,
        }
    }

    fn finished(&self, outcome: Outcome, usage: Option<Usage>, charged: Charged, accounting: &Accounting) -> Attempt {
        let Keys { tenant, labels, model, member, .. } = self.keys.clone();
        Attempt {
            tenant,
            labels,
            model,
            response_model: accounting.model.clone(),
            provider: accounting.provider.clone().or_else(|| self.sent.vendor().cloned()),
            member,
            request_id: accounting.request_id.clone(),
            outcome,
            usage,
            charged,
            bound: self.terms.bound.clone().ok(),
            members: 1,
        }
    }

    fn book(&mut self, attempt: Attempt) {
        self.ended = true;
        self.meter.ended(&attempt);
        let cause = match &attempt.charged {
            Charged::Unpriced(cause) => Some(cause),
            Charged::Unconfirmed(None) => self.terms.bound.as_ref().err(),
            _ => None,
        };
        let Some(members) = &self.members else {
            self.ledger.book_attempt(&[(&self.keys, &attempt)], cause);
            return self.ledger.report(&attempt);
        };
        let keys: Vec<Keys> = members.iter().map(|member| self.keys.of_caller(member)).collect();
        let shares = attempt.split(members);
        self.ledger.book_attempt(&keys.iter().zip(&shares).collect::<Vec<_>>(), cause);
        shares.iter().for_each(|share| self.ledger.report(share));
    }
}

impl Open {
    /// Settles the whole amount. `lost` is the part that no caller used.
    fn settle(self, lost: Usd) {
        self.ledger.account_table().settle(&self.keys, self.amount, lost);
    }
}

impl Drop for RunningAttempt {
    fn drop(&mut self) {
        if !self.ended {
            let charged = self.unknown();
            self.book(self.finished(Outcome::Abandoned, None, charged, &Accounting::default()));
        }
    }
}

fn known(charge: Charge) -> Option<Usage> {
    match charge {
        Charge::Known(usage) => Some(usage),
        Charge::None | Charge::Unknown => None,
    }
}
