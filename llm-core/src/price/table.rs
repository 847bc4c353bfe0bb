use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Price, Rate};
use crate::{Estimate, Usage, Usd};

/// A dated table of models' prices. Cheap to clone.
///
/// A model is found by its exact name, else by its name without a trailing date (`gpt-4o-2024-08-06` → `gpt-4o`);
/// a table that must tell a dated version apart lists it. A model that is not found is unknown: its cost is `None`,
/// never zero.
#[derive(Clone, Debug, Default)]
pub struct PriceTable(Arc<Content>);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    as_of: String,
    #[serde(default)]
    source: String,
    models: BTreeMap<String, ModelPrice>,
}

/// One model's prices and limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPrice {
    /// The most input tokens that one request may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_input: Option<u64>,
    /// The most output tokens that one answer may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
    /// Prices by the length of the prompt, in rising order of `above`; the last that applies prices the whole request.
    /// No rows: the price is known to be unknown.
    pub rows: Vec<PriceRow>,
}

/// Prices for prompts above a length.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "FlatRow")]
pub struct PriceRow {
    /// Applies to requests with more input tokens than this (cached ones included).
    pub above: u64,
    /// The prices.
    #[serde(flatten)]
    pub price: Price,
}

/// A row as it is read: `flatten` takes unknown fields without a word, and a misspelt price must not be a missing one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlatRow {
    #[serde(default)]
    above: u64,
    input: Rate,
    cache_read: Option<Rate>,
    cache_write: Option<Rate>,
    cache_write_long: Option<Rate>,
    output: Rate,
}

/// A price table that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PriceTableError {
    /// Not JSON, or not of a price table's form.
    #[error("the price table cannot be read: {0}")]
    Format(#[from] serde_json::Error),
    /// The rows of a model are not in rising order of `above`, starting at 0.
    #[error("the price rows of {model:?} must start at 0 and rise")]
    Rows {
        /// The model.
        model: String,
    },
}

impl PriceTable {
    /// An empty table: every model is unknown.
    pub fn new(as_of: impl Into<String>) -> Self {
        Self(Arc::new(Content { as_of: as_of.into(), ..Content::default() }))
    }

    /// Reads a table from JSON: `{"as_of", "source", "models": {NAME: {"max_input", "max_output", "rows": [{"above",
    /// "input", "cache_read", "cache_write", "cache_write_long", "output"}]}}}`, prices as strings of dollars per
    /// million tokens.
    ///
    /// # Errors
    ///
    /// The form is wrong, a price is negative or no number, or rows are out of order.
    pub fn from_json(json: &str) -> Result<Self, PriceTableError> {
        let content: Content = serde_json::from_str(json)?;
        for (model, price) in &content.models {
            check(model, price)?;
        }
        Ok(Self(Arc::new(content)))
    }

    /// Adds a model or replaces its prices.
    ///
    /// # Errors
    ///
    /// Rows out of order.
    pub fn with(mut self, model: impl Into<String>, price: ModelPrice) -> Result<Self, PriceTableError> {
        let model = model.into();
        check(&model, &price)?;
        Arc::make_mut(&mut self.0).models.insert(model, price);
        Ok(self)
    }

    /// Takes all models of `other` over this table's own.
    pub fn merged(mut self, other: &Self) -> Self {
        let models = &mut Arc::make_mut(&mut self.0).models;
        models.extend(other.0.models.iter().map(|(name, price)| (name.clone(), price.clone())));
        self
    }

    /// The day the prices were true, as written in the table.
    pub fn as_of(&self) -> &str {
        &self.0.as_of
    }

    /// Where the prices come from, as written in the table.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The names of the models, sorted.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.0.models.keys().map(String::as_str)
    }

    /// A model's prices.
    pub fn model(&self, name: &str) -> Option<&ModelPrice> {
        let models = &self.0.models;
        models.get(name).or_else(|| models.get(without_date(name)?))
    }

    /// What `usage` of `model` costs at standard service; `None` for an unknown model.
    pub fn cost(&self, model: &str, usage: &Usage) -> Option<Usd> {
        Some(self.model(model)?.at(usage.input)?.cost(usage))
    }

    /// The most that a request estimated at `estimate` can cost; `None` for an unknown model.
    ///
    /// It is a true upper bound where [`Estimate::input_bound`] is given and the output is bounded by the request or
    /// by the model; otherwise it is the likely amount.
    pub fn bound(&self, model: &str, estimate: &Estimate) -> Option<Usd> {
        let model = self.model(model)?;
        let input = estimate.input_bound.unwrap_or(estimate.input);
        let output = match (estimate.output_bound, model.max_output) {
            (Some(asked), _) => asked,
            (None, Some(most)) => most.saturating_mul(estimate.answers.into()),
            (None, None) => estimate.output,
        };
        // A row for longer prompts may apply to fewer tokens than the bound, so every row up to it counts.
        model.rows.iter().filter(|row| row.above < input.max(1)).map(|row| row.price.bound(input, output)).max()
    }
}

impl From<FlatRow> for PriceRow {
    fn from(row: FlatRow) -> Self {
        let FlatRow { above, input, cache_read, cache_write, cache_write_long, output } = row;
        Self { above, price: Price { input, cache_read, cache_write, cache_write_long, output } }
    }
}

impl ModelPrice {
    /// One price for prompts of every length.
    pub fn flat(price: Price) -> Self {
        Self { rows: vec![PriceRow { above: 0, price }], ..Self::default() }
    }

    /// The price of a request with this many input tokens.
    pub fn at(&self, input: u64) -> Option<&Price> {
        let row = self.rows.iter().rev().find(|row| input > row.above || row.above == 0)?;
        Some(&row.price)
    }
}

fn check(model: &str, price: &ModelPrice) -> Result<(), PriceTableError> {
    let starts = price.rows.first().is_none_or(|row| row.above == 0);
    if starts && price.rows.is_sorted_by(|a, b| a.above < b.above) {
        return Ok(());
    }
    Err(PriceTableError::Rows { model: model.to_owned() })
}

/// `gpt-4o-2024-08-06` → `gpt-4o`.
fn without_date(name: &str) -> Option<&str> {
    let (base, date) = name.split_at_checked(name.len().checked_sub(11)?)?;
    let is_date =
        date.bytes().enumerate().all(|(i, b)| if matches!(i, 0 | 5 | 8) { b == b'-' } else { b.is_ascii_digit() });
    (is_date && !base.is_empty()).then_some(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"{"as_of": "2026-01-02", "models": {
        "m": {"max_output": 100, "rows": [{"input": "1", "output": "2"}, {"above": 1000, "input": "2", "output": "4"}]},
        "m-2024-05-13": {"rows": []}}}"#;

    #[test]
    fn a_long_prompt_reprices_the_whole_request() {
        let table = PriceTable::from_json(TABLE).unwrap();
        let cost = |input, output| table.cost("m", &Usage::new(input, output)).unwrap().nanos();
        assert_eq!(cost(1_000, 10), 1_000 * 1_000 + 10 * 2_000);
        assert_eq!(cost(1_001, 10), 1_001 * 2_000 + 10 * 4_000);
    }

    #[test]
    fn unknown_stays_unknown() {
        let table = PriceTable::from_json(TABLE).unwrap();
        assert_eq!(table.cost("m-mini", &Usage::new(1, 1)), None);
        assert_eq!(table.cost("m-2024-05-13", &Usage::new(1, 1)), None, "listed without a price");
        assert!(table.cost("m-2025-01-31", &Usage::new(1, 1)).is_some(), "a dated version of a listed model");
    }

    #[test]
    fn wrong_tables_are_refused() {
        for (json, what) in [
            (r#"{"as_of": "", "models": {"m": {"rows": [{"input": "-1", "output": "1"}]}}}"#, "negative"),
            (r#"{"as_of": "", "models": {"m": {"rows": [{"input": "1e3", "output": "1"}]}}}"#, "dollars"),
            (r#"{"as_of": "", "models": {"m": {"rows": [{"above": 5, "input": "1", "output": "1"}]}}}"#, "start at 0"),
            (r#"{"models": {}}"#, "as_of"),
            (r#"{"as_of": "", "models": {"m": {"rows": [{"input": "1", "cache_raed": "1", "output": "1"}]}}}"#, "cache_raed"),
            (r#"{"as_of": "", "models": {"m": {"rows": [{"input": "1"}]}}}"#, "output"),
        ] {
            let error = PriceTable::from_json(json).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn rows_are_written_as_they_are_read() {
        let table = PriceTable::from_json(TABLE).unwrap();
        let json = serde_json::to_string(table.model("m").unwrap()).unwrap();
        assert_eq!(serde_json::from_str::<ModelPrice>(&json).unwrap(), *table.model("m").unwrap());
        assert!(json.contains(r#"{"above":1000,"input":"2.00","output":"4.00"}"#), "{json}");
    }

    #[test]
    fn the_bound_covers_every_row_that_may_apply() {
        let table = PriceTable::from_json(TABLE).unwrap();
        let estimate = Estimate { input: 300, input_bound: Some(1_200), ..Estimate::default() };
        assert_eq!(table.bound("m", &estimate).unwrap().nanos(), 1_200 * 2_000 + 100 * 4_000);
    }
}
