use std::fmt;

use llm_core::{Savings, Usage, Usd, layer::Purpose};

/// What was booked for a tenant, a label, a model, or in all. The [module's docs](crate::ledger) define each term.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// Calls that ended: answered, failed or dropped.
    pub calls: u64,
    /// Calls whose answer arrived whole.
    pub answered: u64,
    /// Those answered by a vendor, for that call.
    pub vendor: u64,
    /// Those answered from a cache.
    pub hits: u64,
    /// Those answered by a call that was already running.
    pub coalesced: u64,
    /// Calls that ended with an error, at the head or later.
    pub failed: u64,
    /// Calls given up by the caller.
    pub dropped: u64,
    /// What the application sold: the units of the answered calls.
    pub units: u64,
    /// Tokens that producing the answers took, whenever and for whomever that was.
    pub usage: Usage,
    /// What the answers cost at list price, each bought alone.
    pub list: Usd,
    /// What was paid for the answers.
    pub useful: Usd,
    /// What did not have to be paid for the answers.
    pub saved: Savings,
    /// Answers whose cost is unknown.
    pub unpriced_responses: u64,
    /// Attempts at a vendor that ended, also those that were not sent.
    pub attempts: u64,
    /// Tokens of all attempts whose usage arrived.
    pub usage_paid: Usage,
    /// What attempts cost whose usage arrived.
    pub paid: Usd,
    /// The part of `paid` whose answer was used.
    pub used: Usd,
    /// The part of `paid` whose answer is still on the way.
    pub open: Usd,
    /// The part of `paid` whose answer nobody used.
    pub wasted: WastedSpend,
    /// Attempts that were sent and whose usage never came.
    pub unconfirmed: Unconfirmed,
    /// Attempts whose usage arrived and whose cost is unknown: [`Snapshot::unknown_costs`](super::Snapshot::unknown_costs)
    /// names the causes.
    pub unpriced_attempts: u64,
    /// Those of `unpriced_attempts` that failed or were given up.
    pub unpriced_wasted: u64,
}

/// Why something was paid for an answer that nobody used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Waste {
    /// The attempt failed, and the vendor charged it.
    Failed,
    /// The caller went away, or a layer above did not pass the answer on.
    Abandoned,
    /// It was asked to replace a stored answer, whoever is served that later.
    Revalidated,
    /// It was asked to check a stored answer.
    Verified,
}

/// Amounts paid for nothing, by cause.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct WastedSpend([Usd; Waste::ALL.len()]);

/// Attempts that were sent and whose usage never came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unconfirmed {
    /// How many.
    pub count: u64,
    /// The most that they cost together, those `unpriced` not included.
    pub amount: Usd,
    /// Those of `count` of which not even a bound is known.
    pub unpriced: u64,
}

impl Waste {
    /// All causes.
    pub const ALL: [Self; 4] = [Self::Failed, Self::Abandoned, Self::Revalidated, Self::Verified];

    /// The cause in one word, for tables and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
            Self::Revalidated => "revalidated",
            Self::Verified => "verified",
        }
    }
}

impl Waste {
    /// What an answer is to whoever pays for it, if nobody who asked uses it.
    pub(super) fn unused(purpose: Option<Purpose>) -> Self {
        match purpose {
            Some(Purpose::Revalidation) => Self::Revalidated,
            Some(Purpose::Verification) => Self::Verified,
            _ => Self::Abandoned,
        }
    }
}

impl WastedSpend {
    /// Adds an amount.
    pub fn add(&mut self, cause: Waste, amount: Usd) {
        self.0[cause as usize] += amount;
    }

    /// The amount of one cause.
    pub fn of(&self, cause: Waste) -> Usd {
        self.0[cause as usize]
    }

    /// The causes that cost something, with their amounts.
    pub fn iter(&self) -> impl Iterator<Item = (Waste, Usd)> + '_ {
        Waste::ALL.into_iter().map(|cause| (cause, self.of(cause))).filter(|(_, amount)| !amount.is_zero())
    }

    /// All amounts together.
    pub fn total(&self) -> Usd {
        self.0.iter().copied().sum()
    }
}

impl Unconfirmed {
    pub(super) fn add(&mut self, bound: Option<Usd>) {
        self.count += 1;
        match bound {
            Some(bound) => self.amount += bound,
            None => self.unpriced += 1,
        }
    }
}

impl fmt::Debug for WastedSpend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
