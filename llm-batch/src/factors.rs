use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use llm_core::{Error, Origin, Reply};

/// Correction factors of token estimates, by model. A factor is the number of used tokens for each estimated token, in
/// thousandths.
///
/// A factor rises at once and falls slowly, because a batch that is too large fails and is sent again, while a batch
/// that is too small costs little.
#[derive(Debug, Default)]
pub(crate) struct Factors(Mutex<HashMap<Arc<str>, u64>>);

impl Factors {
    /// Largest number of models. All factors are dropped before a further model is added.
    const MODELS: usize = 1_024;
    const ONE: u64 = 1_000;

    /// Returns an estimated number of tokens times the factor of the model, or the estimate itself for a model without
    /// a factor.
    pub(crate) fn scale(&self, model: &str, estimated: u64) -> u64 {
        match self.lock().get(model) {
            Some(factor) => estimated.saturating_mul(*factor).div_ceil(Self::ONE),
            None => estimated,
        }
    }

    /// Updates the factor of a model from the input tokens of a request, if the vendor stated a usage for each
    /// response.
    pub(crate) fn learn<O>(&self, model: &Arc<str>, estimated: u64, replies: &[Result<Reply<O>, Error>]) {
        let used = |reply: &Result<Reply<O>, Error>| {
            let receipt = &reply.as_ref().ok()?.receipt;
            receipt.usage().filter(|_| receipt.origin() == Origin::Vendor).map(|usage| usage.input)
        };
        let used = replies.iter().try_fold(0, |sum: u64, reply| Some(sum.saturating_add(used(reply)?)));
        let Some(used @ 1..) = used.filter(|_| estimated > 0) else { return };
        // The factor is bounded to a quarter up to 16, so that an absurd usage does not stop all merging.
        let seen = (used.saturating_mul(Self::ONE) / estimated).clamp(Self::ONE / 4, Self::ONE * 16);
        let mut factors = self.lock();
        if factors.len() >= Self::MODELS && !factors.contains_key(model) {
            factors.clear();
        }
        let factor = factors.entry(Arc::clone(model)).or_insert(seen);
        *factor = seen.max((*factor * 7 + seen) / 8);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use llm_core::{Receipt, Usage, layer::Accounting};

    use super::*;

    #[test]
    fn factor_rises_at_once_and_falls_slowly() {
        let (factors, model) = (Factors::default(), Arc::from("m"));
        let learn = |model: &Arc<str>, estimated, used| {
            let mut accounting = Accounting::default();
            accounting.usage = Some(Usage::new(used, 0));
            factors.learn(model, estimated, &[Ok(Reply::new((), Receipt::new(accounting)))]);
        };
        assert_eq!(factors.scale("m", 100), 100);
        learn(&model, 100, 160);
        assert_eq!((factors.scale("m", 100), factors.scale("another", 100)), (160, 100));
        learn(&model, 100, 80);
        assert_eq!(factors.scale("m", 100), 150);
        learn(&model, 100, 240);
        assert_eq!(factors.scale("m", 100), 240);
        learn(&model, 0, 7);
        learn(&model, 7, 0);
        factors.learn::<()>(&model, 1, &[Err(Error::invalid("no usage"))]);
        assert_eq!(factors.scale("m", 100), 240, "nothing is known of them");
        learn(&model, 100, u64::MAX);
        assert_eq!(factors.scale("m", 100), 1_600);
        (0..2_000).for_each(|n| learn(&Arc::from(n.to_string()), 1, 1));
        assert!(factors.lock().len() <= Factors::MODELS);
    }
}
