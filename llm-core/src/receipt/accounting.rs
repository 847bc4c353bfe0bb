use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Amount, CostShare, Savings, SideCall};
use crate::{Usage, Usd, price::UnknownCost};

/// The facts on a [`Receipt`](super::Receipt). Serialized, they are what the answer is, not how a call came by it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Accounting {
    /// Who gave the answer.
    #[serde(skip)]
    pub origin: Origin,
    /// Tokens that producing the answer took; `None` while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What the vendor has told of the usage while the answer came: of one that broke off, what it took at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_so_far: Option<Usage>,
    /// Calls that the vendor made beside the one that produced the answer. Their tokens are part of `usage`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub side_calls: Vec<SideCall>,
    /// First count in the vendor's usage that cannot be one, by its name and value: `prompt_tokens: -5`. A statement whose
    /// input or output is unusable is not used at all, so `usage` may be `None` because of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unusable_usage: Option<Arc<str>>,
    /// The vendor that produced it, such as `openai`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Arc<str>>,
    /// The model that produced it, as the vendor named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    /// Whether another model answered than the one asked for, because that one could not. Said by the layer that fell
    /// back on it; that a vendor names a model with its date is none.
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
    /// The cost of the answer. A client puts here the amount that the vendor states it billed; the layer that prices
    /// attempts replaces it by the list price if the price table lists the model at this provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Usd>,
    /// Why the cost is unknown, where the layer that prices attempts found it so.
    #[serde(skip)]
    pub unpriced: Option<UnknownCost>,
    /// What was paid for it in this call; `None` unless a layer said so. See [`paid`](Self::paid()).
    #[serde(skip)]
    pub paid: Option<Amount>,
    /// What did not have to be paid in this call, by cause.
    #[serde(skip)]
    pub saved: Savings,
    /// The paid amount that this answer may count as its own.
    #[serde(skip)]
    pub cost_share: Option<CostShare>,
}

/// Who gave an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A vendor, for this call.
    #[default]
    Vendor,
    /// A stored answer.
    Cache {
        /// The tier that had it, such as `memory`.
        tier: &'static str,
        /// How long ago it was stored.
        age: Duration,
    },
    /// A call that was already running for an equal question.
    Coalesced,
}

impl Accounting {
    /// The amount paid to a vendor for this answer, in this call. If no layer said so, it is unknown for an answer that a
    /// vendor gave, and nothing for one that was stored or shared.
    pub fn paid(&self) -> Amount {
        match (&self.paid, self.origin) {
            (Some(paid), _) => paid.clone(),
            (None, Origin::Vendor) => Amount::unknown(UnknownCost::NoAttemptsLayer),
            (None, _) => Amount::ZERO,
        }
    }

    /// Copies what the answer itself is (usage, vendor, model, cost), not how this call came by it.
    pub fn copy_response(&mut self, from: &Self) {
        let Self {
            origin: _,
            usage,
            usage_so_far,
            side_calls,
            unusable_usage,
            provider,
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
        self.model.clone_from(model);
        self.fallback = *fallback;
        self.service_tier.clone_from(service_tier);
        self.surcharges.clone_from(surcharges);
        self.request_id.clone_from(request_id);
        self.cost = *cost;
        self.unpriced.clone_from(unpriced);
    }
}
