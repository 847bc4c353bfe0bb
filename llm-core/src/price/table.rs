use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use super::{
    ModelPrice, PriceTableError,
    distinct_names::distinct_names,
    read::{self, check},
};

/// A dated table of models' prices. Cheap to clone.
///
/// The prices of a model are listed for one provider, or for any provider. A model is found by its exact name,
/// otherwise by its name without a trailing date (`gpt-4o-2024-08-06` → `gpt-4o`, `claude-opus-5-20260301` →
/// `claude-opus-5`); a table with other prices for a dated version lists that version. If the provider of a response is
/// known, only prices for this provider or for any provider apply, unless an [alias](Self::alias) or a [provider
/// alias](Self::provider_alias) says so. A model that is not found is unknown: its cost is an
/// [`UnknownCost`](super::UnknownCost), never zero.
#[derive(Clone, Debug, Default)]
pub struct PriceTable(Arc<Content>);

#[derive(Clone, Debug, Default)]
struct Content {
    as_of: String,
    source: String,
    models: BTreeMap<String, Vec<Listed>>,
    aliases: BTreeMap<String, String>,
    provider_aliases: BTreeMap<String, String>,
}

/// Prices of a model at one provider, or at any provider.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) provider: Option<Arc<str>>,
    pub(super) price: ModelPrice,
}

/// Form of a table in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    as_of: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    provider: Option<Arc<str>>,
    #[serde(deserialize_with = "distinct_names")]
    models: BTreeMap<String, ModelPrice>,
    #[serde(default, deserialize_with = "distinct_names")]
    aliases: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "distinct_names")]
    provider_aliases: BTreeMap<String, String>,
}

impl PriceTable {
    /// Creates an empty table, which knows no model.
    pub fn new(as_of: impl Into<String>) -> Self {
        Self(Arc::new(Content { as_of: as_of.into(), ..Content::default() }))
    }

    /// Reads a table from JSON: `{"as_of", "source", "provider", "aliases": {NAME: NAME}, "provider_aliases": {NAME: NAME},
    /// "models": {NAME: {"max_input", "max_output", "rows": [ROW], "tiers":
    /// {"batch": [ROW], "flex": …}, "surcharges": {"us": 1100}}}}`, each row `{"above", "input", "cache_read", "cache_write", "cache_write_long",
    /// "audio_input", "audio_cache_read", "output", "audio_output", "image_output", "search"}` with the fields of [`Price`](super::Price) as
    /// strings of dollars per million tokens.
    ///
    /// ```
    /// use llm_core::{Usage, price::{PriceTable, ServiceTier}};
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
    /// # Ok::<_, llm_core::price::PriceTableError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the JSON has another form, a price is negative, not a decimal number or above a dollar for a
    /// token, a surcharge lowers the price or is above a hundredfold, a field is unknown, a model is listed twice, rows
    /// are out of order, or plain input or output costs more in a batch than at the standard class. Other relations of
    /// prices, such as those of other classes or of cached tokens, are not checked, because contracts differ.
    pub fn from_json(json: &str) -> Result<Self, PriceTableError> {
        let form: Form = serde_json::from_str(json).map_err(|error| read::locate(json).unwrap_or(error.into()))?;
        let Form { as_of, source, provider, models, aliases, provider_aliases } = form;
        let mut content = Content { as_of, source, aliases, provider_aliases, ..Content::default() };
        for (model, price) in models {
            check(&model, &price)?;
            content.insert(&model, Listed { provider: provider.clone(), price });
        }
        Ok(Self(Arc::new(content)))
    }

    /// Adds a model's prices for any provider, and removes all other prices of this model.
    ///
    /// # Errors
    ///
    /// Returns an error if rows are out of order, the standard class is among `tiers`, a batch costs more than the
    /// standard class, or a price or surcharge is absurdly high.
    pub fn with(mut self, model: impl Into<String>, price: ModelPrice) -> Result<Self, PriceTableError> {
        let model = model.into();
        check(&model, &price)?;
        Arc::make_mut(&mut self.0).insert(&model, Listed { provider: None, price });
        Ok(self)
    }

    /// Assigns all prices of the table to one provider, by the name that receipts state (`openai`, `openrouter`).
    pub fn provider(mut self, name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        let content = Arc::make_mut(&mut self.0);
        for (model, mut listed) in std::mem::take(&mut content.models) {
            // If a name has several prices, only the last is kept.
            let Some(last) = listed.pop() else { continue };
            content.insert(&model, Listed { provider: Some(Arc::clone(&name)), price: last.price });
        }
        self
    }

    /// Gives the model `name` the prices of the listed model `priced_as`, whichever provider serves it, unless the
    /// table lists `name` itself. Use it for deployments, and for names with a vendor's prefix.
    ///
    /// A cost that the vendor itself states takes precedence over an alias.
    ///
    /// ```
    /// use llm_core::{Usage, price::PriceTable};
    ///
    /// # let json = r#"{"as_of": "2026-12-01", "provider": "openai", "models": {"gpt-4o-mini": {"rows": [{"input": "0.15", "output": "0.6"}]}}}"#;
    /// # let table = PriceTable::from_json(json)?;
    /// let table = table.alias("my-deployment", "gpt-4o-mini").alias("openai/gpt-4o-mini", "gpt-4o-mini");
    /// assert_eq!(table.cost("my-deployment", &Usage::new(1_000, 100))?.to_string(), "$0.00021");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn alias(mut self, name: impl Into<String>, priced_as: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).aliases.insert(name.into(), priced_as.into());
        self
    }

    /// Gives all models of the provider `name` the prices of the provider `priced_as`, except models that the table
    /// lists for `name` itself: `.provider_alias("azure", "openai")`.
    pub fn provider_alias(mut self, name: impl Into<String>, priced_as: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).provider_aliases.insert(name.into(), priced_as.into());
        self
    }

    /// Adds all models and aliases of `other`, which replace models and aliases of the same name. If `other` lists a
    /// model for any provider, all prices that this table lists for the model are replaced.
    pub fn merged(mut self, other: &Self) -> Self {
        let content = Arc::make_mut(&mut self.0);
        for (model, listed) in &other.0.models {
            listed.iter().for_each(|each| content.insert(model, each.clone()));
        }
        content.aliases.extend(other.0.aliases.clone());
        content.provider_aliases.extend(other.0.provider_aliases.clone());
        self
    }

    /// Returns the day of the prices, as the table states it.
    pub fn as_of(&self) -> &str {
        &self.0.as_of
    }

    /// Returns the source of the prices, as the table states it.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Returns the names of the models, sorted.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.0.models.keys().map(String::as_str)
    }

    pub(super) fn rows(&self, model: &str) -> Option<&[Listed]> {
        self.0.models.get(model).map(Vec::as_slice)
    }

    pub(super) fn alias_of(&self, model: &str) -> Option<&str> {
        self.0.aliases.get(model).map(String::as_str)
    }

    pub(super) fn provider_alias_of(&self, provider: &str) -> Option<&str> {
        self.0.provider_aliases.get(provider).map(String::as_str)
    }
}

impl Content {
    /// Adds a model's prices. Prices for any provider replace all prices under this name.
    fn insert(&mut self, model: &str, listed: Listed) {
        let known = self.models.entry(model.to_owned()).or_default();
        known.retain(|known| listed.provider.is_some() && known.provider != listed.provider);
        known.push(listed);
    }
}

impl Listed {
    pub(super) fn is_priced(&self) -> bool {
        !self.price.rows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Estimate, Usage};

    const TABLE: &str = r#"{"as_of": "2026-01-02", "models": {
        "m": {"max_output": 100, "rows": [{"input": "1", "output": "2"}, {"above": 1000, "input": "2", "output": "4"}]},
        "m-2024-05-13": {"rows": []}}}"#;

    #[test]
    fn price_table_long_prompt_reprices_request() {
        let table = PriceTable::from_json(TABLE).unwrap();
        let cost = |input, output| table.cost("m", &Usage::new(input, output)).unwrap().nanos();
        assert_eq!(cost(1_000, 10), 1_000 * 1_000 + 10 * 2_000);
        assert_eq!(cost(1_001, 10), 1_001 * 2_000 + 10 * 4_000);
    }

    #[test]
    fn price_table_unknown_model_is_unknown() {
        let table = PriceTable::from_json(TABLE).unwrap();
        assert!(table.cost("m-mini", &Usage::new(1, 1)).is_err());
        assert!(table.cost("m-2024-05-13", &Usage::new(1, 1)).is_err(), "listed without a price");
        assert!(table.cost("m-2025-01-31", &Usage::new(1, 1)).is_ok(), "a dated version of a listed model");
    }

    #[test]
    fn price_table_wrong_json_is_refused() {
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
    fn price_row_json_round_trip_is_equal() {
        let table = PriceTable::from_json(TABLE).unwrap();
        let json = serde_json::to_string(table.model("m").unwrap()).unwrap();
        assert_eq!(serde_json::from_str::<ModelPrice>(&json).unwrap(), *table.model("m").unwrap());
        assert!(json.contains(r#"{"above":1000,"input":"2.00","output":"4.00"}"#), "{json}");
    }

    #[test]
    fn price_bound_covers_every_row() {
        let table = PriceTable::from_json(TABLE).unwrap();
        let estimate = Estimate { input: 300, input_bound: Some(1_200), ..Estimate::default() };
        assert_eq!(table.bound("m", &estimate).unwrap().nanos(), 1_200 * 2_000 + 100 * 4_000);
    }
}
