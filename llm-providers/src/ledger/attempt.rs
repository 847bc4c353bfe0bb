use std::sync::Arc;

use llm_core::{Labels, Tenant, Usage, Usd, price::UnknownCost};

/// One attempt at a vendor, as [`Ledger::on_attempt`](super::Ledger::on_attempt) tells of it when it has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// Who asked.
    pub tenant: Tenant,
    /// What for.
    pub labels: Labels,
    /// The model asked.
    pub model: Arc<str>,
    /// The model that answered, if it did.
    pub answered_by: Option<Arc<str>>,
    /// The vendor, where the client named it.
    pub provider: Option<Arc<str>>,
    /// The vendor's id of the request, if one arrived: it matches this attempt to the vendor's bill.
    pub request_id: Option<Arc<str>>,
    /// How it ended.
    pub outcome: Outcome,
    /// What it used, if the vendor said so and it can be.
    pub usage: Option<Usage>,
    /// What it costs.
    pub charged: Charged,
    /// The most it could cost, as estimated before it was sent; `None` for a model without a known price.
    pub bound: Option<Usd>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// With a whole answer.
    Complete,
    /// With an error, at its head or later.
    Failed,
    /// Given up before its end.
    Abandoned,
}

/// What an attempt costs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Charged {
    /// Nothing: it was not sent, or the vendor refused it.
    Nothing,
    /// What its usage costs.
    Paid(Usd),
    /// Its usage is known, its cost is not, for this reason.
    Unpriced(UnknownCost),
    /// It was sent and its usage never came: at most this, where a bound is known.
    Unconfirmed(Option<Usd>),
}
