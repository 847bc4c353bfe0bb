use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Amount, Cause, CostShare, Savings, SideCall, savings};
use crate::{Usage, Usd, call::MemberId, price::UnknownCost};

/// Accounting data of a [`Receipt`](super::Receipt). Serialized, it holds what is true of the response, not of the call
/// that got it.
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
    /// Origin of the response.
    #[serde(skip)]
    pub origin: Origin,
    /// Tokens that producing the response took; `None` while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Usage that the vendor stated while the response arrived: a lower bound for a response that broke off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_so_far: Option<Usage>,
    /// Calls that the vendor made beside the one that produced the response. Their tokens are part of `usage`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub side_calls: Vec<SideCall>,
    /// First count in the vendor's usage that cannot be one, by its name and value: `prompt_tokens: -5`. A statement
    /// whose input or output is unusable is not used at all, so `usage` may be `None` because of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unusable_usage: Option<Arc<str>>,
    /// The vendor that produced it, such as `openai`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Arc<str>>,
    /// The key pool's member that produced it; `None` without a pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberId>,
    /// The model that produced it, as the vendor named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    /// True if a fallback model answered. The layer that fell back sets it; a vendor's name with a date is no fallback.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fallback: bool,
    /// The vendor's service class, where it named one (`default`, `flex`, …); it decides the price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<Arc<str>>,
    /// The ways of processing that the vendor charges a factor for, by its own words (`us`, `fast`): see
    /// [`PriceOptions::surcharges`](crate::price::PriceOptions).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub surcharges: Vec<Arc<str>>,
    /// The vendor's id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Arc<str>>,
    /// True if a packed request produced it: one request with several prompts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub packed: bool,
    /// The cost of the response: price of its usage as it was served. A client puts here the amount that the vendor
    /// states it billed; the layer that prices attempts replaces it by the table's price if the table lists the model
    /// at this provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Usd>,
    /// The list price: price of the same response alone at the standard service class; an estimate if it was packed.
    /// `None` while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<Usd>,
    /// Cause of an unknown cost or list price, from the layer that prices attempts.
    #[serde(skip)]
    pub unpriced: Option<UnknownCost>,
    /// Amount paid for it in this call; `None` unless a layer stated it. See [`paid`](Self::paid()).
    #[serde(skip)]
    pub paid: Option<Amount>,
    /// Amounts saved, by cause: those [of the response](Savings::of_response), which stay with it, and those of this
    /// call.
    #[serde(with = "savings::of_response", skip_serializing_if = "savings::of_response::is_none")]
    pub saved: Savings,
    /// The paid amount that this response may count as its own.
    #[serde(skip)]
    pub cost_share: Option<CostShare>,
}

/// Origin of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A vendor, for this call.
    #[default]
    Vendor,
    /// A stored response.
    Cache {
        /// The tier that had it, such as `memory`.
        tier: &'static str,
        /// Age of the entry.
        age: Duration,
    },
    /// A call that was already running for an equal request.
    Coalesced,
}

impl Accounting {
    /// Returns the amount paid to a vendor for this response, in this call. If no layer said so, it is unknown for a
    /// response that a vendor gave, and nothing for one that was stored or shared.
    pub fn paid(&self) -> Amount {
        match (&self.paid, self.origin) {
            (Some(paid), _) => paid.clone(),
            (None, Origin::Vendor) => Amount::unknown(UnknownCost::NoAttemptsLayer),
            (None, _) => Amount::ZERO,
        }
    }

    /// Sets the cost, the list price of the same usage, and the saving of the service class, which is their difference.
    ///
    /// Without a known cost there is no list price, because the difference is unknown too.
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

    /// Marks the response as the share of a packed request. Its list price becomes `alone`, which is the estimated
    /// price of the same response
    /// requested alone at the standard class; the difference to the list price of its share of the packed request is
    /// saved.
    ///
    /// Call it with the accounting of the share: `cost`, `list` and `saved` are this response's part of the packed
    /// request. The usage to estimate by is the whole prefix and the response's own item as input and its own part of
    /// the output, without reasoning: `Usage::new(prefix + item, output)`, at
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
        // Without the share's own list price the saving is unknown, and so is the sum.
        let Some(share) = share else { return };
        if let Ok(alone) = alone {
            self.saved.set(Cause::Packed, alone - share);
        }
        (self.list, self.unpriced) = known(alone);
    }

    /// Copies what the response itself is (usage, vendor, model, cost, list price and its own savings), not how this
    /// call came by it.
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

    /// Divides the accounting of a call among its parts in proportion to `weights`. Usage and money add up exactly, and
    /// what cannot be divided goes to the last. The cost share is [taken](CostShare::split) by the parts' own.
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
        // Each amount is rounded on its own. A part's list price follows from its other amounts, so that they add up.
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
                // The cost of a part is known or unknown already.
                part.side_calls = Vec::new();
                part.saved = saved.iter().map(|(cause, amounts)| (*cause, amounts[at])).collect();
                part.list = rest.as_ref().map(|rest| rest[at] + part.cost_and_savings());
                part.cost_share = cost_shares.next();
                part
            })
            .collect()
    }

    /// Returns the list price that the other amounts make up.
    fn cost_and_savings(&self) -> Usd {
        self.cost.unwrap_or_default() + self.saved.of_response().total()
    }
}

/// Returns the amount, and the cause if it is unknown.
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
    fn accounting_split_list_price_adds_up_in_every_part() {
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
