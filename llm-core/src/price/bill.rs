use std::fmt;

use super::{Price, Rate, ServiceTier, TokenKind};
use crate::{Usage, Usd};

/// What a usage costs, line by line. Prints as a small table.
///
/// The total is Σ tokens × rate, rounded up once to the next nano-dollar. A line's amount is what the total rises by
/// through that line, so the lines add up to the total exactly, none is negative, and each is less than one nano-dollar
/// off its own tokens × rate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bill {
    /// The model, as it was asked for.
    pub model: String,
    /// The service class.
    pub tier: ServiceTier,
    /// The prices are those of prompts of more than this many tokens.
    pub above: u64,
    /// The factor on all prices, in thousandths.
    pub per_mille: u32,
    /// The day of the prices.
    pub as_of: String,
    /// One line for each kind of tokens that the usage has.
    pub lines: Vec<BillLine>,
    /// What all of it costs.
    pub total: Usd,
}

/// One kind of tokens on a [`Bill`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BillLine {
    /// Which tokens.
    pub kind: TokenKind,
    /// How many.
    pub tokens: u64,
    /// Their list price, before the bill's factor.
    pub rate: Rate,
    /// This line's share of the total.
    pub amount: Usd,
}

/// Tokens × rates × a factor, exactly.
pub(super) struct Sum {
    /// In 10⁻⁹ nano-dollars: a rate is per million tokens, a factor in thousandths.
    amount: u128,
    per_mille: u32,
}

impl Bill {
    /// The lines for `usage` at `price`.
    pub(super) fn lines(price: &Price, usage: &Usage, per_mille: u32) -> Vec<BillLine> {
        let mut sum = Sum::new(per_mille);
        let items = price.items(usage).into_iter().filter(|(_, tokens, _)| *tokens > 0);
        items
            .map(|(kind, tokens, rate)| {
                let before = sum.rounded_up();
                sum.add(tokens, rate);
                BillLine { kind, tokens, rate, amount: sum.rounded_up() - before }
            })
            .collect()
    }
}

impl Sum {
    const UNIT: u128 = 1_000_000_000;

    pub(super) fn new(per_mille: u32) -> Self {
        Self { amount: 0, per_mille }
    }

    pub(super) fn add(&mut self, tokens: u64, rate: Rate) {
        let amount = (u128::from(tokens) * u128::from(rate.nanos())).saturating_mul(self.per_mille.into());
        self.amount = self.amount.saturating_add(amount);
    }

    pub(super) fn rounded_up(&self) -> Usd {
        i64::try_from(self.amount.div_ceil(Self::UNIT)).map_or(Usd::MAX, Usd::from_nanos)
    }
}

impl fmt::Display for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} service, prices of {}", self.model, self.tier, self.as_of)?;
        if self.above > 0 {
            write!(f, " for prompts above {} tokens", self.above)?;
        }
        if self.per_mille != 1_000 {
            write!(f, ", times {}.{:03}", self.per_mille / 1_000, self.per_mille % 1_000)?;
        }
        for BillLine { kind, tokens, rate, amount } in &self.lines {
            write!(f, "\n  {kind:<16} {tokens:>10} × {rate}  {amount}")?;
        }
        write!(f, "\n  {:<16} {}", "total", self.total)
    }
}
