use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use llm_core::{Origin, Savings, Usage, Usd, price::UnknownCost};

use super::{Attempt, Charged, Outcome, Row, Waste, keys::Keys};

/// Between a label's name and its value in the key of its row.
pub(super) const SEPARATOR: &str = "\0";

/// The rows behind the ledger's lock.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) total: Row,
    pub(super) tenants: Rows,
    pub(super) labels: Rows,
    pub(super) models: Rows,
    pub(super) unknown: Unknown,
    /// Number of the last attempt.
    last_attempt: u64,
    /// Reused, so that looking up a label's row allocates nothing.
    label: String,
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

/// A bounded map of rows.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub(super) known: HashMap<Arc<str>, Row>,
    /// Sum of the names beyond the bound.
    pub(super) other: Option<Row>,
    pub(super) most: usize,
}

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
}

impl Books {
    pub(super) fn new() -> Self {
        Self {
            total: Row::default(),
            tenants: Rows::new(10_000),
            labels: Rows::new(1_000),
            models: Rows::new(1_000),
            unknown: Unknown::default(),
            last_attempt: 0,
            label: String::new(),
        }
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
        book(&mut self.total);
        book(self.tenants.row(&keys.tenant));
        book(self.models.row(&keys.model));
        for (name, value) in keys.labels.iter() {
            self.label.clear();
            self.label.extend([name, SEPARATOR, value]);
            book(self.labels.row(&self.label));
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

impl Rows {
    fn new(most: usize) -> Self {
        Self { known: HashMap::new(), other: None, most }
    }

    fn row(&mut self, name: &str) -> &mut Row {
        if !self.known.contains_key(name) {
            if self.known.len() >= self.most {
                return self.other.get_or_insert_default();
            }
            self.known.insert(name.into(), Row::default());
        }
        self.known.get_mut(name).expect("it was found or added just now")
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
