use std::sync::Arc;

use super::Charge;
use crate::receipt::Accounting;

/// Charge of one failed attempt of a call, with the accounting data that decides its price.
///
/// ```
/// use llm_core::{Charge, Error, ErrorKind, Usage, layer::Accounting};
///
/// let failed = |model: &str, usage| {
///     let mut accounting = Accounting::default();
///     accounting.model = Some(model.into());
///     Error::new(ErrorKind::Server, "it broke").with_charge(Charge::Known(usage)).with_accounting(accounting)
/// };
/// let first = failed("gpt-4o-mini", Usage::new(10, 1));
/// let error = failed("gpt-4o", Usage::new(20, 2)).with_earlier_attempts(&first);
/// assert_eq!(error.charge(), Charge::Known(Usage::new(30, 3)));
/// let models: Vec<_> = error.attempts().filter_map(|attempt| attempt.accounting?.model.clone()).collect();
/// assert_eq!(models, ["gpt-4o-mini".into(), "gpt-4o".into()]);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// Tokens that the attempt may be charged for.
    pub charge: Charge,
    /// Accounting data of the response that failed, if it had begun: model, service class, surcharges.
    pub accounting: Option<Arc<Accounting>>,
}

impl FailedAttempt {
    /// Splits the attempt among the members of a merged call, in proportion to `weights`.
    pub(super) fn split(&self, weights: &[u64]) -> Vec<Self> {
        let charges = match self.charge {
            Charge::Known(usage) => usage.split(weights).into_iter().map(Charge::Known).collect(),
            charge => vec![charge; weights.len()],
        };
        let accountings = match &self.accounting {
            Some(accounting) => accounting.split(weights).into_iter().map(|share| Some(share.into())).collect(),
            None => vec![None; weights.len()],
        };
        let shares = charges.into_iter().zip(accountings);
        shares.map(|(charge, accounting)| Self { charge, accounting }).collect()
    }
}
