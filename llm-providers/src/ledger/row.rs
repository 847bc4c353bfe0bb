use llm_core::{Savings, Usage, Usd};
use serde::{Deserialize, Serialize};

use super::{WastedSpend, amounts};

/// Account of one tenant, label or model, or of all calls. The documentation of the [module](crate::ledger) defines
/// each term.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Row {
    /// Number of calls that ended: completed, failed or dropped.
    pub calls: u64,
    /// Number of completed calls, whose response arrived completely.
    #[serde(alias = "answered")]
    pub completed: u64,
    /// Number of completed calls for which a vendor produced the response.
    pub vendor: u64,
    /// Number of completed calls that a cache served.
    pub hits: u64,
    /// Number of completed calls that joined a running call.
    pub coalesced: u64,
    /// Number of calls that failed, before or during the response.
    pub failed: u64,
    /// Number of calls that their caller dropped.
    pub dropped: u64,
    /// Number of units of the completed calls. The application defines a unit, such as one document.
    pub units: u64,
    /// Tokens of the completed calls' responses, including stored and shared responses.
    pub usage: Usage,
    /// List price of the responses, each requested alone at the standard service class.
    #[serde(rename = "list_nano_usd")]
    pub list: Usd,
    /// Amount paid for the responses.
    #[serde(rename = "useful_nano_usd")]
    pub useful: Usd,
    /// Amounts that did not have to be paid for the responses, by cause. An amount is negative for a service class
    /// dearer than the standard one.
    #[serde(rename = "saved_nano_usd", with = "amounts::saved")]
    pub saved: Savings,
    /// Number of responses whose cost is unknown.
    pub unpriced_responses: u64,
    /// Number of responses whose list price is unknown, including those of `unpriced_responses`.
    pub unlisted_responses: u64,
    /// Part of `useful` and `saved` that belongs to `unlisted_responses`.
    #[serde(rename = "unlisted_nano_usd")]
    pub unlisted: Usd,
    /// Number of attempts at a vendor that ended, including those that were not sent.
    pub attempts: u64,
    /// Tokens of all attempts whose usage arrived.
    pub usage_paid: Usage,
    /// Cost of the attempts whose usage arrived.
    #[serde(rename = "paid_nano_usd")]
    pub paid: Usd,
    /// Part of `paid` whose response a caller used.
    #[serde(rename = "used_nano_usd")]
    pub used: Usd,
    /// Part of `paid` whose response has not reached its caller yet.
    #[serde(rename = "open_nano_usd")]
    pub open: Usd,
    /// Part of `paid` whose response no caller used.
    #[serde(rename = "wasted_nano_usd", with = "amounts::wasted")]
    pub wasted: WastedSpend,
    /// Attempts that were sent and whose usage never arrived.
    pub unconfirmed: Unconfirmed,
    /// Number of attempts whose usage arrived and whose cost is unknown.
    /// [`Snapshot::unknown_costs`](super::Snapshot::unknown_costs) names the causes.
    pub unpriced_attempts: u64,
    /// Number of the `unpriced_attempts` that failed or were abandoned.
    pub unpriced_wasted: u64,
    /// Id of the attempt that was counted last in this row.
    #[serde(skip)]
    pub(super) last_attempt: u64,
}

/// Attempts that were sent and whose usage never arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Unconfirmed {
    /// Number of attempts.
    pub count: u64,
    /// Sum of the upper bounds of these attempts' costs, without the attempts that `unpriced` counts.
    #[serde(rename = "amount_nano_usd")]
    pub amount: Usd,
    /// Number of attempts among `count` whose upper bound is unknown.
    pub unpriced: u64,
}

impl Row {
    /// Adds the account of other calls to this one.
    pub fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.completed += other.completed;
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
    /// Adds a share of an attempt. `count` is 1 for the first share of an attempt, and 0 for the others.
    pub(super) fn add(&mut self, bound: Option<Usd>, count: u64) {
        self.count += count;
        match bound {
            Some(bound) => self.amount += bound,
            None => self.unpriced += count,
        }
    }
}
