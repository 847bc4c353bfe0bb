use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Amount, CostShare, Savings, SideCall};
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
    /// Usage that the vendor stated while the response came: the least that a response took that broke off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_so_far: Option<Usage>,
    /// Calls that the vendor made beside the one that produced the response. Their tokens are part of `usage`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub side_calls: Vec<SideCall>,
    /// First count in the vendor's usage that cannot be one, by its name and value: `prompt_tokens: -5`. A statement whose
    /// input or output is unusable is not used at all, so `usage` may be `None` because of it.
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
    /// The cost of the response. A client puts here the amount that the vendor states it billed; the layer that prices
    /// attempts replaces it by the list price if the price table lists the model at this provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Usd>,
    /// Cause of an unknown cost, from the layer that prices attempts.
    #[serde(skip)]
    pub unpriced: Option<UnknownCost>,
    /// Amount paid for it in this call; `None` unless a layer stated it. See [`paid`](Self::paid()).
    #[serde(skip)]
    pub paid: Option<Amount>,
    /// Amounts saved in this call, by cause.
    #[serde(skip)]
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
    /// Returns the amount paid to a vendor for this response, in this call. If no layer said so, it is unknown for a response that a
    /// vendor gave, and nothing for one that was stored or shared.
    pub fn paid(&self) -> Amount {
        match (&self.paid, self.origin) {
            (Some(paid), _) => paid.clone(),
            (None, Origin::Vendor) => Amount::unknown(UnknownCost::NoAttemptsLayer),
            (None, _) => Amount::ZERO,
        }
    }

    /// Copies what the response itself is (usage, vendor, model, cost), not how this call came by it.
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
            cost,
            unpriced,
            paid: _,
            saved: _,
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
        self.cost = *cost;
        self.unpriced.clone_from(unpriced);
    }

    /// Divides the accounting of a call among its parts, exactly: what cannot be divided goes to the last. The cost share is
    /// [taken](CostShare::split) by the parts' own.
    pub(crate) fn split(&self, weights: &[u64]) -> Vec<Self> {
        let usages = self.usage.map(|usage| usage.split(weights));
        let so_far = self.usage_so_far.map(|usage| usage.split(weights));
        let costs = self.cost.map(|cost| cost.split(weights));
        let paid = self.paid.as_ref().map(|paid| paid.split(weights));
        let saved: Vec<_> = self.saved.iter().map(|(cause, amount)| (cause, amount.split(weights))).collect();
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
                saved.iter().for_each(|(cause, amounts)| part.saved.add(*cause, amounts[at]));
                part.cost_share = cost_shares.next();
                part
            })
            .collect()
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
}
