use llm_core::{Savings, Usage, Usd};
use serde::{Deserialize, Serialize};

use super::{WastedSpend, amounts};

/// Account of a tenant, a label, a model, or in total. The [module's docs](crate::ledger) define each term.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Row {
    /// Calls that ended: completed, failed or dropped.
    pub calls: u64,
    /// Calls whose response arrived whole.
    pub answered: u64,
    /// Completed calls for which a vendor produced the response.
    pub vendor: u64,
    /// Completed calls that a cache served.
    pub hits: u64,
    /// Calls that joined a running call.
    pub coalesced: u64,
    /// Calls that ended with an error, at the head or later.
    pub failed: u64,
    /// Calls that their caller dropped.
    pub dropped: u64,
    /// Units, which the application sells, of the completed calls.
    pub units: u64,
    /// Tokens that the responses took when they were produced.
    pub usage: Usage,
    /// List price of the responses: each alone, at the standard service class.
    #[serde(rename = "list_nano_usd")]
    pub list: Usd,
    /// Amount paid for the responses.
    #[serde(rename = "useful_nano_usd")]
    pub useful: Usd,
    /// Amounts that did not have to be paid for the responses; negative for a service class that is dearer than
    /// standard.
    #[serde(rename = "saved_nano_usd", with = "amounts::saved")]
    pub saved: Savings,
    /// Responses whose cost is unknown.
    pub unpriced_responses: u64,
    /// Responses whose list price is unknown, those of `unpriced_responses` included.
    pub unlisted_responses: u64,
    /// Part of `useful` and `saved` that is of `unlisted_responses`.
    #[serde(rename = "unlisted_nano_usd")]
    pub unlisted: Usd,
    /// Attempts at a vendor that ended, also those that were not sent.
    pub attempts: u64,
    /// Tokens of all attempts whose usage arrived.
    pub usage_paid: Usage,
    /// Cost of the attempts whose usage arrived.
    #[serde(rename = "paid_nano_usd")]
    pub paid: Usd,
    /// Part of `paid` whose response was used.
    #[serde(rename = "used_nano_usd")]
    pub used: Usd,
    /// Part of `paid` whose response has not reached its caller yet.
    #[serde(rename = "open_nano_usd")]
    pub open: Usd,
    /// Part of `paid` whose response no caller used.
    #[serde(rename = "wasted_nano_usd", with = "amounts::wasted")]
    pub wasted: WastedSpend,
    /// Attempts that were sent and whose usage never came.
    pub unconfirmed: Unconfirmed,
    /// Attempts whose usage arrived and whose cost is unknown:
    /// [`Snapshot::unknown_costs`](super::Snapshot::unknown_costs) names the causes.
    pub unpriced_attempts: u64,
    /// Attempts among `unpriced_attempts` that failed or were abandoned.
    pub unpriced_wasted: u64,
    /// Number of the last attempt that was counted here.
    #[serde(skip)]
    pub(super) last_attempt: u64,
}

/// Attempts that were sent and whose usage never came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Unconfirmed {
    /// Number of these attempts.
    pub count: u64,
    /// Upper bound of their cost, those `unpriced` not included.
    #[serde(rename = "amount_nano_usd")]
    pub amount: Usd,
    /// Attempts among `count` without a known bound.
    pub unpriced: u64,
}

impl Row {
    /// Adds the account of other calls.
    pub fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.answered += other.answered;
        self.vendor += other.vendor;
        self.hits += other.hits;
        self.coalesced += other.coalesced;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.units += other.units;
        self.usage += other.usage;
        self.list += other.list;
        self.useful += other.useful;
        other.saved.iter().for_each(|(cause, amount)| self.saved.add(cause, amount));
        self.unpriced_responses += other.unpriced_responses;
        self.unlisted_responses += other.unlisted_responses;
        self.unlisted += other.unlisted;
        self.attempts += other.attempts;
        self.usage_paid += other.usage_paid;
        self.paid += other.paid;
        self.used += other.used;
        self.open += other.open;
        other.wasted.iter().for_each(|(cause, amount)| self.wasted.add(cause, amount));
        self.unconfirmed.count += other.unconfirmed.count;
        self.unconfirmed.amount += other.unconfirmed.amount;
        self.unconfirmed.unpriced += other.unconfirmed.unpriced;
        self.unpriced_attempts += other.unpriced_attempts;
        self.unpriced_wasted += other.unpriced_wasted;
    }
}

impl Unconfirmed {
    /// Adds a share of an attempt; `count` is 1 for the first share of each attempt.
    pub(super) fn add(&mut self, bound: Option<Usd>, count: u64) {
        self.count += count;
        match bound {
            Some(bound) => self.amount += bound,
            None => self.unpriced += count,
        }
    }
}
