use super::Rate;
use crate::Usd;

/// Denominator of an exact amount: rates are per million tokens, and factors are thousandths.
const UNIT: u128 = 1_000_000_000;

/// Exact sum of tokens × rates × factors.
pub(super) struct Sum {
    /// Numerator of the amount in nano-dollars, whose denominator is `unit`.
    amount: u128,
    unit: u128,
    per_mille: u32,
}

impl Sum {
    pub(super) fn new(per_mille: u32) -> Self {
        Self { amount: 0, unit: UNIT, per_mille }
    }

    pub(super) fn add(&mut self, tokens: u64, rate: Rate) {
        let amount = (u128::from(tokens) * u128::from(rate.nanos())).saturating_mul(self.per_mille.into());
        self.amount = self.amount.saturating_add(amount.saturating_mul(self.unit / UNIT));
    }

    /// Multiplies the sum by a factor in thousandths.
    pub(super) fn times(&mut self, per_mille: u32) {
        self.amount = self.amount.saturating_mul(per_mille.into());
        self.unit = self.unit.saturating_mul(1_000);
    }

    pub(super) fn rounded_up(&self) -> Usd {
        match self.amount {
            u128::MAX => Usd::MAX,
            amount => i64::try_from(amount.div_ceil(self.unit)).map_or(Usd::MAX, Usd::from_nanos),
        }
    }
}
