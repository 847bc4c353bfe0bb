use std::{collections::HashMap, sync::Arc};

/// Used tokens per estimated token of each model, in thousandths.
///
/// A factor rises at once and falls slowly, because a batch that is too large costs further requests and one that is too
/// small costs little.
#[derive(Debug, Default)]
pub(crate) struct Factors(HashMap<Arc<str>, u64>);

impl Factors {
    /// The most models that are known; a further one starts anew with all.
    const MODELS: usize = 1_024;
    const ONE: u64 = 1_000;

    /// Returns the likely tokens of an estimate.
    pub(crate) fn scale(&self, model: &str, estimated: u64) -> u64 {
        match self.0.get(model) {
            Some(factor) => estimated.saturating_mul(*factor).div_ceil(Self::ONE),
            None => estimated,
        }
    }

    pub(crate) fn learn(&mut self, model: &Arc<str>, estimated: u64, used: u64) {
        if estimated == 0 || used == 0 {
            return;
        }
        // An absurd usage must not stop all merging.
        let seen = (used.saturating_mul(Self::ONE) / estimated).clamp(Self::ONE / 4, Self::ONE * 16);
        if self.0.len() >= Self::MODELS && !self.0.contains_key(model) {
            self.0.clear();
        }
        let factor = self.0.entry(Arc::clone(model)).or_insert(seen);
        *factor = seen.max((*factor * 7 + seen) / 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factor_rises_at_once_and_falls_slowly() {
        let (mut factors, model) = (Factors::default(), Arc::from("m"));
        assert_eq!(factors.scale("m", 100), 100);
        factors.learn(&model, 100, 160);
        assert_eq!((factors.scale("m", 100), factors.scale("another", 100)), (160, 100));
        factors.learn(&model, 100, 80);
        assert_eq!(factors.scale("m", 100), 150);
        factors.learn(&model, 100, 240);
        assert_eq!(factors.scale("m", 100), 240);
        factors.learn(&model, 0, 7);
        factors.learn(&model, 100, u64::MAX);
        assert_eq!(factors.scale("m", 100), 1_600);
        (0..2_000).for_each(|n| factors.learn(&Arc::from(n.to_string()), 1, 1));
        assert!(factors.0.len() <= Factors::MODELS);
    }
}
