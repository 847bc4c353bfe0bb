use std::{collections::BTreeMap, sync::Arc};

use llm_core::{Origin, Savings, Usage, Usd, price::UnknownCost};

use super::{
    Attempt, Charged, Outcome, Row, Waste, accounts::Accounts, keys::Keys, months::MonthBooks, request_log::RequestLog,
};

/// The rows behind the ledger's lock.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) accounts: Accounts,
    pub(super) unknown: Unknown,
    /// Accounts of each month, and lines about requests, if there is a file.
    pub(super) months: Option<MonthBooks>,
    pub(super) log: Option<RequestLog>,
    /// Number of the last attempt.
    last_attempt: u64,
}

/// Numbers of unknown costs, by cause. Bounded, because causes hold names that callers and vendors choose.
#[derive(Clone, Debug, Default)]
pub(super) struct Unknown {
    pub(super) causes: BTreeMap<UnknownCost, Counts>,
    /// Those with causes beyond the bound.
    pub(super) other: Counts,
}

/// Attempts whose cost is unknown, and responses whose cost or list price is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) attempts: u64,
    pub(super) answers: u64,
}

/// Most causes of unknown costs that are counted apart.
const MAX_CAUSES: usize = 100;

/// End of a call, as its caller saw it.
#[derive(Debug)]
pub(super) enum Ended {
    Answered(Box<Answer>),
    Failed,
    Dropped,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) origin: Origin,
    pub(super) units: u32,
    pub(super) usage: Option<Usage>,
    /// True if its cost is known.
    pub(super) is_priced: bool,
    pub(super) list: Result<Usd, UnknownCost>,
    pub(super) useful: Usd,
    pub(super) saved: Savings,
    /// Model that answered, vendor and the vendor's id of the request, where they are known.
    pub(super) answered_by: Option<Arc<str>>,
    pub(super) provider: Option<Arc<str>>,
    pub(super) request_id: Option<Arc<str>>,
}

impl Books {
    pub(super) fn new() -> Self {
        Self { accounts: Accounts::new(), unknown: Unknown::default(), months: None, log: None, last_attempt: 0 }
    }

    pub(super) fn call(&mut self, keys: &Keys, ended: &Ended) {
        if let Ended::Answered(answer) = ended
            && let Err(cause) = &answer.list
        {
            self.unknown.of(cause).answers += 1;
        }
        self.each(keys, |row| row.call(ended));
    }

    /// Books an attempt by the shares of its members; `cause` is why its cost, or the bound of it, is unknown. Each row
    /// counts it once.
    pub(super) fn attempt(&mut self, shares: &[(&Keys, &Attempt)], cause: Option<&UnknownCost>) {
        if let Some(cause) = cause {
            self.unknown.of(cause).attempts += 1;
        }
        self.last_attempt += 1;
        let id = self.last_attempt;
        for (keys, share) in shares {
            self.each(keys, |row| row.attempt(share, id));
        }
    }

    /// Settles an open amount: a caller used the response, or none ever will.
    pub(super) fn settle(&mut self, keys: &Keys, amount: Usd, lost: Usd) {
        self.each(keys, |row| {
            row.open -= amount;
            row.used += amount - lost;
            row.wasted.add(Waste::unused(keys.purpose), lost);
        });
    }

    fn each(&mut self, keys: &Keys, mut book: impl FnMut(&mut Row)) {
        self.accounts.each(keys, None, &mut book);
        if let Some(months) = &mut self.months {
            months.each(keys, &self.accounts, &mut book);
        }
    }
}

impl Unknown {
    fn of(&mut self, cause: &UnknownCost) -> &mut Counts {
        if !self.causes.contains_key(cause) && self.causes.len() >= MAX_CAUSES {
            return &mut self.other;
        }
        self.causes.entry(cause.clone()).or_default()
    }
}

impl Row {
    fn call(&mut self, ended: &Ended) {
        self.calls += 1;
        match ended {
            Ended::Answered(answer) => self.answer(answer),
            Ended::Failed => self.failed += 1,
            Ended::Dropped => self.dropped += 1,
        }
    }

    fn answer(&mut self, answer: &Answer) {
        self.answered += 1;
        match answer.origin {
            Origin::Vendor => self.vendor += 1,
            Origin::Cache { .. } => self.hits += 1,
            Origin::Coalesced => self.coalesced += 1,
            // Later kinds get their own count with what makes them.
            _ => {}
        }
        self.units += u64::from(answer.units);
        // One that no answer can have taken would make the total wrong for good.
        self.usage += answer.usage.filter(Usage::is_plausible).unwrap_or_default();
        self.unpriced_responses += u64::from(!answer.is_priced);
        match answer.list {
            Ok(list) => self.list += list,
            Err(_) => {
                self.unlisted_responses += 1;
                self.unlisted += answer.useful + answer.saved.total();
            }
        }
        self.useful += answer.useful;
        for (cause, amount) in answer.saved.iter() {
            self.saved.add(cause, amount);
        }
    }

    fn attempt(&mut self, attempt: &Attempt, id: u64) {
        // The shares of one attempt come one after the other.
        let count = u64::from(self.last_attempt != id);
        self.last_attempt = id;
        self.attempts += count;
        self.usage_paid += attempt.usage.unwrap_or_default();
        match attempt.charged {
            Charged::Nothing => {}
            Charged::Unpriced(_) => {
                self.unpriced_attempts += count;
                self.unpriced_wasted += if attempt.outcome == Outcome::Complete { 0 } else { count };
            }
            Charged::Unconfirmed(bound) => self.unconfirmed.add(bound, count),
            Charged::Paid(cost) => {
                self.paid += cost;
                match attempt.outcome {
                    Outcome::Complete => self.open += cost,
                    Outcome::Failed => self.wasted.add(Waste::Failed, cost),
                    Outcome::Abandoned => self.wasted.add(Waste::Abandoned, cost),
                }
            }
        }
    }
}
