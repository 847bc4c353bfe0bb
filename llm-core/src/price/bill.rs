use std::{fmt, sync::Arc};

use super::{PriceOptions, PriceRow, Rate, ServiceTier, TokenKind, sum::Sum};
use crate::{Usage, Usd};

/// Cost of a usage, line by line. Prints as a small table.
///
/// The total is Σ tokens × rate × factors, rounded up once to the next nano-dollar. A line's amount is what the total
/// rises by through that line, so lines and surcharges add up to the total exactly, none is negative, and each is less
/// than one nano-dollar off its own tokens × rate.
///
/// A part without a known price is in no line but among `unpriced`; the cost is then unknown, and the total the least that
/// it can be.
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
    /// One for each surcharge, on the lines of tokens and the surcharges before it; searches have none.
    pub surcharges: Vec<SurchargeLine>,
    /// Kinds that were used and have no known price, with their amounts.
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
    /// This line's share of the total.
    pub amount: Usd,
}

/// A surcharge on a [`Bill`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SurchargeLine {
    /// The vendor's word for the surcharge.
    pub way: Arc<str>,
    /// The factor, in thousandths.
    pub per_mille: u32,
    /// Amount that it adds to the total.
    pub amount: Usd,
}

impl Bill {
    /// Creates the bill of `usage` at the prices of a row, with these factors of its options' surcharges.
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

/// Adds what was used to the sum, each kind as a line, or as unpriced.
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
