use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Bill, ModelPrice, PriceOptions, PriceTableError, ServiceTier,
    read::{self, check},
};
use crate::{Estimate, Usage, Usd};

/// A dated table of models' prices. Cheap to clone.
///
/// A model is found by its exact name, else by its name without a trailing date (`gpt-4o-2024-08-06` → `gpt-4o`,
/// `claude-opus-5-20260301` → `claude-opus-5`); a table that must tell a dated version apart lists it. A model that is not found is unknown: its cost is `None`,
/// never zero.
#[derive(Clone, Debug, Default)]
pub struct PriceTable(Arc<Content>);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    as_of: String,
    #[serde(default)]
    source: String,
    #[serde(deserialize_with = "read::unique")]
    models: BTreeMap<String, ModelPrice>,
}

impl PriceTable {
    /// An empty table: every model is unknown.
    pub fn new(as_of: impl Into<String>) -> Self {
        Self(Arc::new(Content { as_of: as_of.into(), ..Content::default() }))
    }

    /// Reads a table from JSON: `{"as_of", "source", "models": {NAME: {"max_input", "max_output", "rows": [ROW], "tiers":
    /// {"batch": [ROW], "flex": …}, "surcharges": {"us": 1100}}}}`, each row `{"above", "input", "cache_read", "cache_write", "cache_write_long",
    /// "audio_input", "audio_cache_read", "output", "audio_output", "image_output", "search"}` with the fields of [`Price`](super::Price) as
    /// strings of dollars per million tokens.
    ///
    /// ```
    /// use llm_core::{PriceTable, ServiceTier, Usage};
    ///
    /// let table = PriceTable::from_json(
    ///     r#"{"as_of": "2026-12-01", "models": {"m": {
    ///         "rows": [{"input": "2", "output": "8"}, {"above": 200000, "input": "4", "output": "12"}],
    ///         "tiers": {"batch": [{"input": "1", "output": "4"}, {"above": 200000, "input": "2", "output": "6"}]}
    ///     }}}"#,
    /// )?;
    /// let bill = table.bill("m", &Usage::new(250_000, 1_000), &ServiceTier::Batch.into()).expect("it is listed");
    /// assert_eq!(bill.total.to_string(), "$0.506");
    /// println!("{bill}");
    /// # Ok::<_, llm_core::PriceTableError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The form is wrong, a price is negative, no decimal number or beyond a dollar a token, a surcharge is no surcharge
    /// or beyond a hundredfold, a field is unknown, a model is listed twice, rows are out of order, or plain input or
    /// output costs more in a batch than at standard service. Whether the prices of
    /// other classes, or of cached tokens, make sense is not judged: contracts differ.
    pub fn from_json(json: &str) -> Result<Self, PriceTableError> {
        let content: Content =
            serde_json::from_str(json).map_err(|error| read::locate(json).unwrap_or(error.into()))?;
        for (model, price) in &content.models {
            check(model, price)?;
        }
        Ok(Self(Arc::new(content)))
    }

    /// Adds a model or replaces its prices.
    ///
    /// # Errors
    ///
    /// Rows out of order, standard service among `tiers`, a batch that costs more than standard service, or an absurd
    /// price or surcharge.
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

    /// What `usage` of `model` costs at standard service; `None` as with [`cost_with`](Self::cost_with).
    pub fn cost(&self, model: &str, usage: &Usage) -> Option<Usd> {
        self.cost_with(model, usage, &PriceOptions::new())
    }

    /// What `usage` of `model` costs as it was served; `None` for an unknown model, for a service class that has no
    /// known price for this model and length of prompt, for an unknown surcharge, and for a usage that has something
    /// without a known price.
    pub fn cost_with(&self, model: &str, usage: &Usage, options: &PriceOptions) -> Option<Usd> {
        let model = self.model(model)?;
        let mut sum = model.row(&options.tier, usage.input)?.price.sum(usage, options.per_mille)?;
        model.factors(&options.surcharges)?.into_iter().for_each(|(_, factor)| sum.times(factor));
        Some(sum.rounded_up())
    }

    /// The same line by line; also of a usage that has something without a known price, which it names.
    pub fn bill(&self, model: &str, usage: &Usage, options: &PriceOptions) -> Option<Bill> {
        let price = self.model(model)?;
        let row = price.row(&options.tier, usage.input)?;
        let factors = price.factors(&options.surcharges)?;
        Some(Bill::of((model, self.as_of()), row, usage, options, &factors))
    }

    /// The most that a request estimated at `estimate` can cost at standard service; `None` for an unknown model.
    ///
    /// It is a true upper bound where [`Estimate::input_bound`] is given and the output is bounded by the request or
    /// by the model; otherwise it is the likely amount.
    pub fn bound(&self, model: &str, estimate: &Estimate) -> Option<Usd> {
        self.bound_with(model, estimate, &PriceOptions::new())
    }

    /// The most that such a request can cost if it asks for this service class; `None` where that is unknown.
    ///
    /// A vendor that has no room in the class that was asked for may serve and bill standard service, so the dearer of
    /// the two counts; of a batch, the batch alone. See [`bound`](Self::bound) for when it is a true bound.
    pub fn bound_with(&self, model: &str, estimate: &Estimate, options: &PriceOptions) -> Option<Usd> {
        let model = self.model(model)?;
        let input = estimate.input_bound.unwrap_or(estimate.input);
        let output = match (estimate.output_bound, model.max_output) {
            (Some(asked), _) => asked,
            (None, Some(most)) => most.saturating_mul(estimate.answers.into()),
            (None, None) => estimate.output,
        };
        let asked = bound_of(model, &options.tier, input, output, options)?;
        match options.tier {
            ServiceTier::Standard | ServiceTier::Batch => Some(asked),
            _ => Some(asked.max(bound_of(model, &ServiceTier::Standard, input, output, options)?)),
        }
    }
}

fn bound_of(model: &ModelPrice, tier: &ServiceTier, input: u64, output: u64, options: &PriceOptions) -> Option<Usd> {
    // Without a price for the longest prompt that it may be, there is no bound.
    model.row(tier, input)?;
    let factors = model.factors(&options.surcharges)?;
    // A row for longer prompts may apply to fewer tokens than the bound, so every row up to it counts.
    let rows = model.tier(tier)?.iter().filter(|row| row.above < input.max(1));
    let bounds = rows.map(|row| {
        let mut sum = row.price.bound_sum(input, output, options.per_mille);
        factors.iter().for_each(|(_, factor)| sum.times(*factor));
        sum.rounded_up()
    });
    bounds.max()
}

/// `gpt-4o-2024-08-06` → `gpt-4o`, `claude-opus-5-20260301` → `claude-opus-5`.
fn without_date(name: &str) -> Option<&str> {
    ["-dddd-dd-dd", "-dddddddd"].into_iter().find_map(|form| {
        let (base, date) = name.split_at_checked(name.len().checked_sub(form.len())?)?;
        let is_date = date.bytes().zip(form.bytes()).all(|(b, form)| match form {
            b'd' => b.is_ascii_digit(),
            dash => b == dash,
        });
        (is_date && !base.is_empty()).then_some(base)
    })
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
            (
                r#"{"as_of": "", "models": {"m": {"rows": [{"input": "1", "cache_raed": "1", "output": "1"}]}}}"#,
                "cache_raed",
            ),
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
