use llm_core::{Charge, Claim, Dispatch, End, Error, Facts, Receipt, Usage, Usd};

use super::{Charged, Ledger, Outcome, Purchase, keys::Keys, terms::Terms};

/// One attempt at a vendor while it runs. If it is dropped, it was given up.
#[derive(Debug)]
pub(super) struct Attempt {
    ledger: Ledger,
    keys: Keys,
    dispatch: Dispatch,
    terms: Terms,
    ended: bool,
}

/// A paid amount of which it is not known yet whether its answer is used.
struct Open {
    ledger: Ledger,
    keys: Keys,
    amount: Usd,
}

impl Attempt {
    pub(super) fn new(ledger: &Ledger, keys: Keys, dispatch: Dispatch, terms: Terms) -> Self {
        Self { ledger: ledger.clone(), keys, dispatch, terms, ended: false }
    }

    /// It was no attempt: somebody below had the answer already.
    pub(super) fn spared(mut self) {
        self.ended = true;
    }

    /// It ended without a reply.
    pub(super) fn refused(mut self, error: &Error) {
        let facts = error.facts().cloned().unwrap_or_default();
        let (usage, charged) = match error.charge() {
            Charge::None => (None, Charged::Nothing),
            Charge::Unknown => (None, self.unknown()),
            Charge::Known(usage) => {
                let cost = self.terms.cost(&self.keys.model, &facts, &usage);
                (Some(usage), cost.map_or(Charged::Unpriced, Charged::Paid))
            }
        };
        let mut purchase = self.purchase(Outcome::Failed, usage, charged, &facts);
        purchase.request_id = error.request_id().map(Into::into).or(purchase.request_id);
        self.book(purchase);
    }

    /// The reply ended.
    pub(super) fn ended<C>(mut self, end: &End<'_, C>, receipt: &Receipt) {
        let outcome = match end {
            End::Complete(_) => Outcome::Complete,
            End::Failed(..) => Outcome::Failed,
            End::Dropped(_) => Outcome::Abandoned,
        };
        let facts = receipt.facts();
        // An error in mid-answer may come from a layer above that cut it off, so its charge counts only if it knows.
        let usage = facts.usage.or_else(|| match end {
            End::Failed(_, error) => known(error.charge()),
            _ => None,
        });
        let cost = usage.and_then(|usage| self.terms.cost(&self.keys.model, &facts, &usage)).or(facts.cost);
        let charged = match (cost, usage) {
            (Some(cost), _) => Charged::Paid(cost),
            (None, Some(_)) => Charged::Unpriced,
            // An answer began, so it was sent, whether its client said so or not.
            (None, None) => Charged::Unconfirmed(self.terms.bound),
        };
        self.book(self.purchase(outcome, usage, charged, &facts));
        let Some(cost) = cost else { return };
        let claim = (outcome == Outcome::Complete).then(|| self.claim(cost));
        let replaced = receipt.edit(|facts| {
            facts.cost = Some(cost);
            facts.paid = cost;
            std::mem::replace(&mut facts.claim, claim)
        });
        // Only now, when the receipt is free: its callback may want to see it.
        drop(replaced);
    }

    fn claim(&self, amount: Usd) -> Claim {
        let open = Open { ledger: self.ledger.clone(), keys: self.keys.clone(), amount };
        Claim::new(amount, move |lost| open.settle(lost))
    }

    /// What a call that ended without usage costs.
    fn unknown(&self) -> Charged {
        if self.dispatch.is_sent() { Charged::Unconfirmed(self.terms.bound) } else { Charged::Nothing }
    }

    fn purchase(&self, outcome: Outcome, usage: Option<Usage>, charged: Charged, facts: &Facts) -> Purchase {
        let Keys { tenant, labels, model, purpose: _ } = self.keys.clone();
        Purchase {
            tenant,
            labels,
            model,
            answered_by: facts.model.clone(),
            provider: facts.provider.clone(),
            request_id: facts.request_id.clone(),
            outcome,
            usage,
            charged,
            bound: self.terms.bound,
        }
    }

    fn book(&mut self, purchase: Purchase) {
        self.ended = true;
        self.ledger.books().purchase(&self.keys, &purchase);
        self.ledger.tell(&purchase);
    }
}

impl Open {
    /// All of it is settled now: nobody took `lost`.
    fn settle(self, lost: Usd) {
        self.ledger.books().settle(&self.keys, self.amount, lost);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            let charged = self.unknown();
            self.book(self.purchase(Outcome::Abandoned, None, charged, &Facts::default()));
        }
    }
}

fn known(charge: Charge) -> Option<Usage> {
    match charge {
        Charge::Known(usage) => Some(usage),
        Charge::None | Charge::Unknown => None,
    }
}
