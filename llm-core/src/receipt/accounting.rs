use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Amount, Cause, CostShare, Savings, SideCall, savings};
use crate::{Usage, Usd, call::MemberId, price::UnknownCost};

/// Accounting data of a [`Receipt`](super::Receipt). The serialized form holds only the fields that belong to the
/// response, without the fields of the call that got the response.
///
/// ```
/// use llm_core::{Receipt, Usage, layer::Accounting};
///
/// let mut accounting = Accounting::default();
/// accounting.usage = Some(Usage::new(1_000, 50));
/// accounting.provider = Some("openai".into());
/// assert_eq!(Receipt::new(accounting).usage(), Some(Usage::new(1_000, 50)));
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Accounting {
    /// Origin of the response: a vendor, a cache, or a call that was running already.
    #[serde(skip)]
    pub origin: Origin,
    /// Tokens that the production of the response took; `None` while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Usage that the vendor has stated while the response arrives: a lower bound if the response breaks off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_so_far: Option<Usage>,
    /// Calls that the vendor made in addition to the call that produced the response. Their tokens are included in
    /// `usage`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub side_calls: Vec<SideCall>,
    /// Name and value of the first count in the vendor's usage that is impossible, such as `prompt_tokens: -5`. If the
    /// count of input or output is impossible, the whole usage is ignored and `usage` is `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unusable_usage: Option<Arc<str>>,
    /// Vendor that produced the response, such as `openai`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Arc<str>>,
    /// Member of the key pool that produced the response; `None` without a pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberId>,
    /// Model that produced the response, by the vendor's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    /// True if a fallback model produced the response. The layer that chose the fallback sets it. A model name to which
    /// the vendor adds a date is not a fallback.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fallback: bool,
    /// Service class that the vendor stated, if any (`default`, `flex`, …). It decides the price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<Arc<str>>,
    /// Options that the vendor charges a factor for, by the vendor's words (`us`, `fast`): see
    /// [`PriceOptions::surcharges`](crate::price::PriceOptions).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub surcharges: Vec<Arc<str>>,
    /// Vendor's id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Arc<str>>,
    /// True if the response came from a packed request, which holds several prompts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub packed: bool,
    /// Cost of the response: the price of its usage at the class at which it was served. A client sets it to the amount
    /// that the vendor states. The layer that prices attempts replaces it by the price table's amount if the table
    /// lists the model at this provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Usd>,
    /// List price of the response: its price if it had been requested alone at the standard service class, which is an
    /// estimate for a packed response. `None` while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<Usd>,
    /// Reason why the cost or the list price is unknown, set by the layer that prices attempts.
    #[serde(skip)]
    pub unpriced: Option<UnknownCost>,
    /// Amount that this call paid for the response; `None` unless a layer has set it. See [`paid`](Self::paid()).
    #[serde(skip)]
    pub paid: Option<Amount>,
    /// Amounts saved, by cause. They comprise the savings [of the response](Savings::of_response), which are stored
    /// with it, and the savings of this call.
    #[serde(with = "savings::of_response", skip_serializing_if = "savings::of_response::is_none")]
    pub saved: Savings,
    /// Share of the attempt's cost that this response may take as its own.
    #[serde(skip)]
    pub cost_share: Option<CostShare>,
}

/// Origin of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A vendor produced the response for this call.
    #[default]
    Vendor,
    /// The response was stored in a cache.
    Cache {
        /// Tier of the cache in which the response was found, such as `memory`.
        tier: &'static str,
        /// Age of the cache entry.
        age: Duration,
    },
    /// Another call was already running for an equal request, and this call shares the other call's response.
    Coalesced,
}

impl Accounting {
    /// Returns the amount that this call paid a vendor for the response. If no layer has set the amount, it is unknown
    /// for a response that a vendor produced for this call, and zero for a stored or shared response.
    pub fn paid(&self) -> Amount {
        match (&self.paid, self.origin) {
            (Some(paid), _) => paid.clone(),
            (None, Origin::Vendor) => Amount::unknown(UnknownCost::NoAttemptsLayer),
            (None, _) => Amount::ZERO,
        }
    }

    /// Sets the cost, the list price of the same usage, and the saving of the service class, which is their difference.
    ///
    /// If the cost is unknown, the list price is not set either, because their difference would be unknown.
    ///
    /// ```
    /// use llm_core::{Cause, Usd, layer::Accounting};
    ///
    /// let mut accounting = Accounting::default();
    /// accounting.set_prices(Ok(Usd::from_nanos(40)), Ok(Usd::from_nanos(25)));
    /// assert_eq!(accounting.saved.of(Cause::Tier), Usd::from_nanos(-15));
    /// assert_eq!(accounting.list, Some(Usd::from_nanos(25)));
    /// ```
    pub fn set_prices(&mut self, cost: Result<Usd, UnknownCost>, list: Result<Usd, UnknownCost>) {
        let list = cost.as_ref().map_err(UnknownCost::clone).and(list);
        let saved = list.as_ref().ok().zip(cost.as_ref().ok()).map(|(list, cost)| *list - *cost);
        self.saved.set(Cause::Tier, saved.unwrap_or_default());
        self.cost = cost.ok();
        (self.list, self.unpriced) = known(list);
    }

    /// Marks the response as a part of a packed request. Its list price becomes `alone`, the estimated price of the
    /// same response if it had been requested alone at the standard class. The difference between `alone` and the list
    /// price of the response's share of the packed request counts as saved.
    ///
    /// Call it on the accounting of the share, whose `cost`, `list` and `saved` are this response's part of the packed
    /// request. Estimate `alone` from a usage with the whole prefix and the response's own item as input, and its own
    /// part of the output without reasoning: `Usage::new(prefix + item, output)`, at
    /// [`PriceTable::list_of`](crate::price::PriceTable::list_of).
    ///
    /// ```
    /// use llm_core::{Cause, Usd, layer::Accounting};
    ///
    /// let mut share = Accounting::default();
    /// share.set_prices(Ok(Usd::from_nanos(10)), Ok(Usd::from_nanos(20)));
    /// share.set_packed(Ok(Usd::from_nanos(50)));
    /// assert_eq!((share.saved.of(Cause::Tier), share.saved.of(Cause::Packed)), (Usd::from_nanos(10), Usd::from_nanos(30)));
    /// assert_eq!(share.list, Some(Usd::from_nanos(10 + 10 + 30)));
    /// ```
    pub fn set_packed(&mut self, alone: Result<Usd, UnknownCost>) {
        let share = self.list;
        self.packed = true;
        self.saved.set(Cause::Packed, Usd::ZERO);
        // Without the share's list price, the saving by packing is unknown.
        let Some(share) = share else { return };
        if let Ok(alone) = alone {
            self.saved.set(Cause::Packed, alone - share);
        }
        (self.list, self.unpriced) = known(alone);
    }

    /// Copies the fields that belong to the response (usage, vendor, model, cost, list price and savings of the
    /// response), but not the fields that state how this call got the response.
    pub fn copy_response(&mut self, from: &Self) {
        let Self {
            origin: _,
            usage,
            usage_so_far,
            side_calls,
            unusable_usage,
            provider,
            member,
            model,
            fallback,
            service_tier,
            surcharges,
            request_id,
            packed,
            cost,
            list,
            unpriced,
            paid: _,
            saved,
            cost_share: _,
        } = from;
        self.usage = *usage;
        self.usage_so_far = *usage_so_far;
        self.side_calls.clone_from(side_calls);
        self.unusable_usage.clone_from(unusable_usage);
        self.provider.clone_from(provider);
        self.member.clone_from(member);
        self.model.clone_from(model);
        self.fallback = *fallback;
        self.service_tier.clone_from(service_tier);
        self.surcharges.clone_from(surcharges);
        self.request_id.clone_from(request_id);
        self.packed = *packed;
        self.cost = *cost;
        self.list = *list;
        self.unpriced.clone_from(unpriced);
        self.saved = saved.of_response();
    }

    /// Splits the accounting of a call among its parts in proportion to `weights`. Usage and money add up exactly; the
    /// last part gets the remainders. The cost share is [split](CostShare::split) too, so that the original can no
    /// longer be taken.
    ///
    /// ```
    /// use llm_core::{Usage, layer::Accounting};
    ///
    /// let mut whole = Accounting::default();
    /// whole.usage = Some(Usage::new(10, 0));
    /// let parts = whole.split(&[1, 2]);
    /// assert_eq!([parts[0].usage, parts[1].usage], [Some(Usage::new(3, 0)), Some(Usage::new(7, 0))]);
    /// ```
    pub fn split(&self, weights: &[u64]) -> Vec<Self> {
        let usages = self.usage.map(|usage| usage.split(weights));
        let so_far = self.usage_so_far.map(|usage| usage.split(weights));
        let costs = self.cost.map(|cost| cost.split(weights));
        let paid = self.paid.as_ref().map(|paid| paid.split(weights));
        let saved: Vec<_> = self.saved.iter().map(|(cause, amount)| (cause, amount.split(weights))).collect();
        // Each amount is rounded on its own. The list price of a part is the sum of its other amounts, so that they
        // stay consistent.
        let rest = self.list.map(|list| (list - self.cost_and_savings()).split(weights));
        let mut cost_shares =
            self.cost_share.as_ref().and_then(|share| share.split(weights)).unwrap_or_default().into_iter();
        (0..weights.len())
            .map(|at| {
                let mut part = Self::default();
                part.copy_response(self);
                part.origin = self.origin;
                part.usage = usages.as_ref().map(|usages| usages[at]);
                part.usage_so_far = so_far.as_ref().map(|usages| usages[at]);
                part.cost = costs.as_ref().map(|costs| costs[at]);
                part.paid = paid.as_ref().map(|paid| paid[at].clone());
                // The side calls are not needed, because the cost of a part is already computed, or known to be
                // unknown.
                part.side_calls = Vec::new();
                part.saved = saved.iter().map(|(cause, amounts)| (*cause, amounts[at])).collect();
                part.list = rest.as_ref().map(|rest| rest[at] + part.cost_and_savings());
                part.cost_share = cost_shares.next();
                part
            })
            .collect()
    }

    /// Returns the sum of the cost and the savings of the response, which is its list price.
    fn cost_and_savings(&self) -> Usd {
        self.cost.unwrap_or_default() + self.saved.of_response().total()
    }
}

/// Returns the amount if it is known, or the cause for which it is unknown.
fn known(amount: Result<Usd, UnknownCost>) -> (Option<Usd>, Option<UnknownCost>) {
    match amount {
        Ok(amount) => (Some(amount), None),
        Err(cause) => (None, Some(cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cause;

    #[test]
    fn accounting_split_gives_remainder_to_last_part() {
        let mut whole = Accounting::default();
        (whole.usage, whole.usage_so_far) = (Some(Usage::new(10, 0)), Some(Usage::new(0, 5)));
        (whole.cost, whole.paid) = (Some(Usd::from_nanos(11)), Some(Usd::from_nanos(8).into()));
        whole.saved.add(Cause::CacheHit, Usd::from_nanos(4));
        let parts = whole.split(&[1, 1, 1]);
        let each = |of: fn(&Accounting) -> Usd| parts.iter().map(|part| of(part).nanos()).collect::<Vec<_>>();
        let usage = |of: fn(&Accounting) -> Option<Usage>| {
            parts.iter().filter_map(of).map(|usage| usage.total()).collect::<Vec<_>>()
        };
        assert_eq!(usage(|part| part.usage), [3, 3, 4]);
        assert_eq!(usage(|part| part.usage_so_far), [1, 1, 3]);
        assert_eq!(each(|part| part.cost.unwrap_or_default()), [3, 3, 5]);
        assert_eq!(each(|part| part.paid().at_least()), [2, 2, 4]);
        assert_eq!(each(|part| part.saved.of(Cause::CacheHit)), [1, 1, 2]);
    }

    #[test]
    fn accounting_split_keeps_list_price_sum() {
        for (cost, list) in [(11, 25), (25, 11), (7, 7)] {
            let mut whole = Accounting::default();
            whole.set_prices(Ok(Usd::from_nanos(cost)), Ok(Usd::from_nanos(list)));
            whole.saved.add(Cause::CacheHit, Usd::from_nanos(4));
            let parts = whole.split(&[1, 2, 4]);
            for part in &parts {
                let saved = part.saved.of(Cause::Tier);
                assert_eq!(part.list, part.cost.map(|cost| cost + saved), "{cost} for {list}");
            }
            assert_eq!(parts.iter().filter_map(|part| part.list).sum::<Usd>(), Usd::from_nanos(list));
        }
    }
}
