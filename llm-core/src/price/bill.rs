use std::{fmt, sync::Arc};

use super::{PriceOptions, PriceRow, Rate, ServiceTier, TokenKind, sum::Sum};
use crate::{Usage, Usd};

/// Cost of a usage, line by line. Prints as a small table.
///
/// The total is Σ tokens × rate × factors, rounded up once to the next nano-dollar. The amount of a line is the
/// difference that the line makes to the rounded total. So lines and surcharges add up to the total exactly, none is
/// negative, and each differs by less than one nano-dollar from its own tokens × rate.
///
/// Tokens without a known price are listed in `unpriced` and have no line. The cost is then unknown, and the total is
/// its lower bound.
///
/// ```
/// use llm_core::{Usage, price::{PriceOptions, PriceTable}};
///
/// let json = r#"{"as_of": "2026-12-01", "models": {"m": {"rows": [{"input": "2", "output": "8"}]}}}"#;
/// let bill = PriceTable::from_json(json)?.bill("m", &Usage::new(1_000, 100), &PriceOptions::new())?;
/// assert_eq!((bill.lines.len(), bill.total.to_string().as_str()), (2, "$0.0028"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bill {
    /// Name of the model, as the caller of [`PriceTable::bill`](super::PriceTable::bill) gave it.
    pub model: String,
    /// Service class.
    pub tier: ServiceTier,
    /// Number of input tokens above which the prices of this bill apply.
    pub above: u64,
    /// Factor on all prices, in thousandths.
    pub per_mille: u32,
    /// Day of the prices, as the price table states it.
    pub as_of: String,
    /// Lines, one for each kind of tokens that the usage has.
    pub lines: Vec<BillLine>,
    /// Surcharges, in order. Each applies to the lines of tokens and the surcharges before it, not to searches.
    pub surcharges: Vec<SurchargeLine>,
    /// Kinds of tokens that were used and have no known price, with their counts.
    pub unpriced: Vec<(TokenKind, u64)>,
    /// Sum of all lines and surcharges.
    pub total: Usd,
}

/// One kind of tokens on a [`Bill`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BillLine {
    /// Kind of tokens.
    pub kind: TokenKind,
    /// Number of tokens.
    pub tokens: u64,
    /// List price of the line's tokens, before the bill's factor.
    pub rate: Rate,
    /// Amount that the line adds to the total.
    pub amount: Usd,
}

/// A surcharge on a [`Bill`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SurchargeLine {
    /// Vendor's word for the surcharge.
    pub way: Arc<str>,
    /// Factor of the surcharge, in thousandths.
    pub per_mille: u32,
    /// Amount that the surcharge adds to the total.
    pub amount: Usd,
}

impl Bill {
    /// Creates the bill of `usage` at the prices of `row`. `factors` are the factors of the surcharges in `options`.
    pub(super) fn of(
        (model, as_of): (&str, &str),
        row: &PriceRow,
        usage: &Usage,
        options: &PriceOptions,
        factors: &[(&Arc<str>, u32)],
    ) -> Self {
        let mut sum = Sum::new(options.per_mille);
        let (searches, tokens): (Vec<Item>, Vec<Item>) = row
            .price
            .items(usage)
            .into_iter()
            .filter(|(_, count, _)| *count > 0)
            .partition(|(kind, ..)| kind.is_search());
        let (mut lines, mut unpriced) = (Vec::new(), Vec::new());
        add(tokens, &mut sum, &mut lines, &mut unpriced);
        let surcharges = factors.iter().map(|(way, per_mille)| {
            let before = sum.rounded_up();
            sum.times(*per_mille);
            SurchargeLine { way: Arc::clone(way), per_mille: *per_mille, amount: sum.rounded_up() - before }
        });
        let surcharges = surcharges.collect();
        add(searches, &mut sum, &mut lines, &mut unpriced);
        Self {
            model: model.to_owned(),
            tier: options.tier.clone(),
            above: row.above,
            per_mille: options.per_mille,
            as_of: as_of.to_owned(),
            lines,
            surcharges,
            unpriced,
            total: sum.rounded_up(),
        }
    }
}

type Item = (TokenKind, u64, Option<Rate>);

/// Adds the used tokens to the sum, with a line for each kind that has a price and an entry in `unpriced` for each
/// other kind.
fn add(items: Vec<Item>, sum: &mut Sum, lines: &mut Vec<BillLine>, unpriced: &mut Vec<(TokenKind, u64)>) {
    for (kind, tokens, rate) in items {
        let Some(rate) = rate else {
            unpriced.push((kind, tokens));
            continue;
        };
        let before = sum.rounded_up();
        sum.add(tokens, rate);
        lines.push(BillLine { kind, tokens, rate, amount: sum.rounded_up() - before });
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
        for SurchargeLine { way, per_mille, amount } in &self.surcharges {
            write!(f, "\n  {way:<16} {:>10} × {}.{:03}  {amount}", "all", per_mille / 1_000, per_mille % 1_000)?;
        }
        for (kind, tokens) in &self.unpriced {
            write!(f, "\n  {kind:<16} {tokens:>10} without a known price")?;
        }
        let total = if self.unpriced.is_empty() { "total" } else { "total, at least" };
        write!(f, "\n  {total:<16} {}", self.total)
    }
}
