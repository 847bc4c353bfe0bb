use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Price, Rate, ServiceTier, distinct_names::distinct_names};

/// One model's prices and limits.
///
/// ```
/// use llm_core::price::{ModelPrice, Price, PriceRow, Rate};
///
/// let price = |dollars: u64| Price { input: Rate::from_nanos(dollars * 1_000_000_000), ..Price::default() };
/// let rows = vec![PriceRow { above: 0, price: price(2) }, PriceRow { above: 200_000, price: price(4) }];
/// let model = ModelPrice { rows, ..ModelPrice::default() };
/// assert_eq!(model.at(200_001), Some(&price(4)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPrice {
    /// Largest number of input tokens of one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_input: Option<u64>,
    /// Largest number of output tokens of one response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
    /// Prices of the standard service class by length of prompt, in ascending order of `above`. The last row that
    /// applies to the request's number of input tokens prices the whole request. A model without rows has an unknown
    /// price.
    pub rows: Vec<PriceRow>,
    /// Prices of other service classes, in rows of the same form. A class that is not listed has an unknown price,
    /// never the standard price. The same holds for prompts that the rows of a class do not cover although the standard
    /// rows do.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "distinct_names")]
    pub tiers: BTreeMap<ServiceTier, Vec<PriceRow>>,
    /// Factors on all prices of tokens, in thousandths, for options that the vendor charges extra for, by the vendor's
    /// word: `{"us": 1100}`. An option that is not listed has an unknown price, and is never free.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "distinct_names")]
    pub surcharges: BTreeMap<String, u32>,
}

/// Prices for prompts above a length.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "FlatRow")]
pub struct PriceRow {
    /// Number of input tokens, including cached tokens, above which the prices apply.
    pub above: u64,
    /// Prices of the request's tokens.
    #[serde(flatten)]
    pub price: Price,
}

/// Row before it is checked. Serde's `flatten` would ignore unknown fields, and a misspelt price must not become a
/// missing one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlatRow {
    #[serde(default)]
    above: u64,
    input: Rate,
    cache_read: Option<Rate>,
    cache_write: Option<Rate>,
    cache_write_long: Option<Rate>,
    audio_input: Option<Rate>,
    audio_cache_read: Option<Rate>,
    output: Rate,
    audio_output: Option<Rate>,
    image_output: Option<Rate>,
    search: Option<Rate>,
    #[serde(default)]
    search_per_request: bool,
}

impl ModelPrice {
    /// Creates one standard price for prompts of every length.
    pub fn flat(price: Price) -> Self {
        Self { rows: vec![PriceRow { above: 0, price }], ..Self::default() }
    }

    /// Returns the standard prices for a request with this many input tokens.
    pub fn at(&self, input: u64) -> Option<&Price> {
        self.row(&ServiceTier::Standard, input).map(|row| &row.price)
    }

    /// Returns the row that prices a request with this many input tokens at a service class; `None` if the price is
    /// unknown.
    pub fn row(&self, tier: &ServiceTier, input: u64) -> Option<&PriceRow> {
        let row = applying(self.tier(tier)?, input)?;
        let standard = applying(&self.rows, input).map_or(0, |row| row.above);
        (row.above >= standard).then_some(row)
    }

    /// Returns each surcharge with its factor, in thousandths.
    ///
    /// # Errors
    ///
    /// Returns the first surcharge that the model does not list.
    pub(super) fn factors<'o>(&self, surcharges: &'o [Arc<str>]) -> Result<Vec<(&'o Arc<str>, u32)>, &'o Arc<str>> {
        surcharges.iter().map(|way| Ok((way, *self.surcharges.get(&**way).ok_or(way)?))).collect()
    }

    /// Returns the rows of a service class.
    pub fn tier(&self, tier: &ServiceTier) -> Option<&[PriceRow]> {
        match tier {
            ServiceTier::Standard => Some(&self.rows),
            other => self.tiers.get(other).map(Vec::as_slice),
        }
    }
}

impl From<FlatRow> for PriceRow {
    fn from(row: FlatRow) -> Self {
        let FlatRow {
            above,
            input,
            cache_read,
            cache_write,
            cache_write_long,
            audio_input,
            audio_cache_read,
            output,
            audio_output,
            image_output,
            search,
            search_per_request,
        } = row;
        let price = Price {
            input,
            cache_read,
            cache_write,
            cache_write_long,
            audio_input,
            audio_cache_read,
            output,
            audio_output,
            image_output,
            search,
            search_per_request,
        };
        Self { above, price }
    }
}

fn applying(rows: &[PriceRow], input: u64) -> Option<&PriceRow> {
    rows.iter().rev().find(|row| input > row.above || row.above == 0)
}
