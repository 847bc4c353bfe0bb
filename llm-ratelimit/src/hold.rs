//! Amounts that a call holds until it is settled.

use std::sync::Arc;

use llm_core::{Usage, Usd, layer::SentFlag, price::PriceOptions};
use smallvec::SmallVec;

use crate::{Settlement, account_ref::AccountRef, bucket::Mark, demand::Models, kind::Kind};

/// Amount that a call holds in one counter.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) account_ref: AccountRef,
    pub(crate) counter: u32,
    pub(crate) kind: Kind,
    pub(crate) amount: u64,
    pub(crate) mark: Mark,
}

pub(crate) type Holds = SmallVec<[Hold; 2]>;

/// Amounts that a call holds in its limits. If they are dropped before they are settled, they count as spent if the
/// call was sent, and are released otherwise.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) holds: Holds,
    /// Limiter that settles the call; `None` before the call is granted and after it is settled.
    pub(crate) limiter: Option<Arc<dyn Settle>>,
    /// Models by which the call is priced; `None` if no limit of the plan counts money.
    pub(crate) models: Option<Models>,
    /// True if the call is known to have been sent, even if its flag is not set.
    pub(crate) sent: bool,
    pub(crate) flag: Option<SentFlag>,
}

/// Settlement of calls by the limiter that granted them.
pub(crate) trait Settle: Send + Sync {
    /// Replaces the amounts that a call holds by those that it used.
    fn settle(self: Arc<Self>, holds: &[Hold], settlement: &Settlement);

    /// Returns the cost of a model's usage by the price table, or by the assumed price if the table has no price;
    /// `None` if there is neither.
    fn cost(&self, model: &str, options: &PriceOptions, usage: &Usage) -> Option<Usd>;
}

impl Hold {
    /// Returns `true` if the settlement changes the counted amount.
    pub(crate) fn is_moved_by(&self, settlement: &Settlement) -> bool {
        settlement.amount(self.kind, self.amount) != self.amount
    }
}

impl Held {
    /// Returns `true` if the call may be charged.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent || self.flag.as_ref().is_some_and(SentFlag::is_sent)
    }

    /// Settles the amounts, unless they have been settled already.
    pub(crate) fn settle(&mut self, mut settlement: Settlement) {
        let Some(limiter) = self.limiter.take() else { return };
        if let Settlement::Used { usage, cost: cost @ None } | Settlement::AtLeast { usage, cost: cost @ None } =
            &mut settlement
        {
            let models = self.models.as_ref();
            *cost = models.and_then(|models| models.highest_cost(|model, options| limiter.cost(model, options, usage)));
        }
        limiter.settle(&self.holds, &settlement);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.limiter.is_some() {
            let settlement = if self.is_sent() { Settlement::Unknown } else { Settlement::Unsent };
            self.settle(settlement);
        }
    }
}
