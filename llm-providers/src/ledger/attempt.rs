use std::sync::Arc;

use llm_core::{
    Labels, Tenant, Usage, Usd,
    layer::{Member, MemberId, Members},
    price::UnknownCost,
};

/// One finished attempt at a vendor, as [`Ledger::on_attempt`](super::Ledger::on_attempt) reports it. An attempt of a
/// [merged call](llm_core::layer::Members) is reported once for each member, with the member's share.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// Tenant of the call.
    pub tenant: Tenant,
    /// Labels of the call.
    pub labels: Labels,
    /// Requested model.
    pub model: Arc<str>,
    /// Model that responded, if one did.
    pub response_model: Option<Arc<str>>,
    /// Name of the vendor, if the client states it.
    pub provider: Option<Arc<str>>,
    /// Member of the key pool that the attempt was sent to; `None` without a pool.
    pub member: Option<MemberId>,
    /// Vendor's id of the request, if the vendor stated one. It matches this attempt to the vendor's bill.
    pub request_id: Option<Arc<str>>,
    /// Way in which the attempt ended.
    pub outcome: Outcome,
    /// Usage, if the vendor stated a plausible one.
    pub usage: Option<Usage>,
    /// Cost of the attempt.
    pub charged: Charged,
    /// Upper bound of the cost, estimated before the attempt was sent; `None` for a model without a known price.
    pub bound: Option<Usd>,
    /// Number of members of the call: 1 unless calls were merged. The shares of all members have the same request id,
    /// and their usages, costs and bounds add up to those of the attempt.
    pub members: usize,
}

impl Attempt {
    /// Splits the attempt among the members of its call.
    pub(super) fn split(&self, members: &Members) -> Vec<Self> {
        let weights = members.weights();
        let usages = self.usage.map(|usage| usage.split(&weights));
        let bounds = self.bound.map(|bound| bound.split(&weights));
        let charges = self.charged.split(&weights);
        let share = |(at, (member, charged)): (usize, (&Member, Charged))| Self {
            tenant: member.tenant.clone(),
            labels: member.labels.clone(),
            usage: usages.as_ref().map(|usages| usages[at]),
            bound: bounds.as_ref().map(|bounds| bounds[at]),
            charged,
            members: weights.len(),
            ..self.clone()
        };
        members.iter().zip(charges).enumerate().map(share).collect()
    }
}

/// Way in which an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// A complete response arrived.
    Complete,
    /// The attempt failed, before a response or while one arrived.
    Failed,
    /// The caller dropped the attempt before its end.
    Abandoned,
}

/// Cost of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Charged {
    /// No cost: the attempt was not sent, or the vendor refused it.
    Nothing,
    /// The usage is charged, at this amount.
    Paid(Usd),
    /// The usage is charged, and its cost is unknown for this reason.
    Unpriced(UnknownCost),
    /// The attempt was sent, and its usage never arrived. It cost at most this amount; `None` if no bound is known.
    Unconfirmed(Option<Usd>),
}

impl Charged {
    fn split(&self, weights: &[u64]) -> Vec<Self> {
        match self {
            Self::Paid(cost) => cost.split(weights).into_iter().map(Self::Paid).collect(),
            Self::Unconfirmed(Some(bound)) => {
                bound.split(weights).into_iter().map(|bound| Self::Unconfirmed(Some(bound))).collect()
            }
            Self::Nothing | Self::Unpriced(_) | Self::Unconfirmed(None) => vec![self.clone(); weights.len()],
        }
    }
}
