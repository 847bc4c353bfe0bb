use std::sync::Arc;

use llm_core::{
    Labels, Tenant, Usage, Usd,
    layer::{Member, MemberId, Members},
    price::UnknownCost,
};

/// One finished attempt at a vendor, as [`Ledger::on_attempt`](super::Ledger::on_attempt) reports it; of a
/// [merged call](llm_core::layer::Members) one member's share of it.
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
    pub answered_by: Option<Arc<str>>,
    /// Vendor, where the client names it.
    pub provider: Option<Arc<str>>,
    /// Key pool's member that the attempt was sent to; `None` without a pool.
    pub member: Option<MemberId>,
    /// Vendor's id of the request, if one arrived: it matches this attempt to the vendor's bill.
    pub request_id: Option<Arc<str>>,
    /// End of the attempt.
    pub outcome: Outcome,
    /// Usage, if the vendor stated a plausible one.
    pub usage: Option<Usage>,
    /// Cost of the attempt.
    pub charged: Charged,
    /// Upper bound of the cost, as estimated before it was sent; `None` for a model without a known price.
    pub bound: Option<Usd>,
    /// Number of members of the call, each of which is reported with its share: 1 unless calls were merged. The shares
    /// have one request id, and their usages, costs and bounds add up to the attempt's.
    pub members: usize,
}

impl Attempt {
    /// Divides the attempt among the members of its call.
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

/// Ends of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// A whole response arrived.
    Complete,
    /// An error arrived, in place of a response or within it.
    Failed,
    /// The caller dropped it before its end.
    Abandoned,
}

/// Costs of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Charged {
    /// No cost: the attempt was not sent, or the vendor refused it.
    Nothing,
    /// The usage is charged, at this amount.
    Paid(Usd),
    /// The usage is charged, and its cost is unknown for this cause.
    Unpriced(UnknownCost),
    /// The attempt was sent and its usage never came: it cost at most this, where a bound is known.
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
