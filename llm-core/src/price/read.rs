//! Reading of price tables, and the errors of tables that are refused.

use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{ModelPrice, PriceRow, Rate, ServiceTier};

/// Names of the fields of a row that hold rates.
const RATES: [&str; 10] = [
    "input",
    "cache_read",
    "cache_write",
    "cache_write_long",
    "audio_input",
    "audio_cache_read",
    "output",
    "audio_output",
    "image_output",
    "search",
];
/// Largest price that is accepted, which is a dollar for one token or search.
const MOST: Rate = Rate::from_nanos(1_000_000 * 1_000_000_000);
/// Range of surcharge factors that are accepted, in thousandths.
const FACTORS: RangeInclusive<u32> = 1_000..=100_000;

/// Error of a price table that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PriceTableError {
    /// The text is not JSON, or does not have a price table's form.
    #[error("the price table cannot be read: {0}")]
    Format(#[from] serde_json::Error),
    /// A model's prices cannot be read: a price is negative or not a decimal number, or a field is unknown or missing.
    #[error("{field} of {model:?} in the price table cannot be read: {problem}")]
    Field {
        /// Name of the model.
        model: String,
        /// Path of the field within the model, such as `tiers.batch[0].input`.
        field: String,
        /// Description of the fault, for the error message.
        problem: String,
    },
    /// The rows of a model are not in rising order of `above`, starting at 0.
    #[error("the price rows of {model:?} for {tier} service must start at 0 and rise")]
    Rows {
        /// Name of the model.
        model: String,
        /// Service class of the prices.
        tier: ServiceTier,
    },
    /// The standard service class is listed among the other classes, although its prices are the model's `rows`.
    #[error("the prices of {model:?} for standard service belong in `rows`, not in `tiers`")]
    StandardTier {
        /// Name of the model.
        model: String,
    },
    /// A price is so high that it must be a typing error.
    #[error("a price of {model:?} for {tier} service is more than $1 a token: prices are for a million tokens")]
    AbsurdRate {
        /// Name of the model.
        model: String,
        /// Service class of the prices.
        tier: ServiceTier,
    },
    /// A surcharge lowers prices, or is so high that it must be a typing error.
    #[error("the surcharge {way:?} of {model:?} must be from 1000 to 100000 thousandths")]
    AbsurdSurcharge {
        /// Name of the model.
        model: String,
        /// Name of the surcharge.
        way: String,
    },
    /// A batch would cost more than the same requests one by one, so either the two prices are interchanged or one of
    /// them is mistyped.
    #[error("{field} of {model:?} costs more in a batch than at standard service")]
    DearBatch {
        /// Name of the model.
        model: String,
        /// Kind of tokens: `input` or `output`.
        field: &'static str,
    },
}

/// Checks the prices of a model in a table that has the right form.
pub(super) fn check(model: &str, price: &ModelPrice) -> Result<(), PriceTableError> {
    for (tier, rows) in std::iter::once((&ServiceTier::Standard, &price.rows)).chain(&price.tiers) {
        let starts = rows.first().is_none_or(|row| row.above == 0);
        if !starts || !rows.is_sorted_by(|a, b| a.above < b.above) {
            return Err(PriceTableError::Rows { model: model.to_owned(), tier: tier.clone() });
        }
        if rows.iter().any(|row| row.price.rates().into_iter().flatten().any(|rate| rate > MOST)) {
            return Err(PriceTableError::AbsurdRate { model: model.to_owned(), tier: tier.clone() });
        }
    }
    if let Some((way, _)) = price.surcharges.iter().find(|(_, factor)| !FACTORS.contains(factor)) {
        return Err(PriceTableError::AbsurdSurcharge { model: model.to_owned(), way: way.clone() });
    }
    if price.tiers.contains_key(&ServiceTier::Standard) {
        return Err(PriceTableError::StandardTier { model: model.to_owned() });
    }
    for batch in price.tiers.get(&ServiceTier::Batch).into_iter().flatten() {
        let Some(standard) = price.at(batch.above.saturating_add(1)) else { continue };
        for (field, dear) in
            [("input", batch.price.input > standard.input), ("output", batch.price.output > standard.output)]
        {
            if dear {
                return Err(PriceTableError::DearBatch { model: model.to_owned(), field });
            }
        }
    }
    Ok(())
}

/// Finds the model and the field that made a table unreadable, if the fault is in one model's prices.
pub(super) fn locate(json: &str) -> Option<PriceTableError> {
    let table: Value = serde_json::from_str(json).ok()?;
    table.get("models")?.as_object()?.iter().find_map(|(model, value)| {
        let whole = problem::<ModelPrice>(value)?;
        let (field, problem) = wrong_field(value).unwrap_or_else(|| ("the entry".to_owned(), whole));
        Some(PriceTableError::Field { model: model.clone(), field, problem })
    })
}

fn wrong_field(model: &Value) -> Option<(String, String)> {
    let standard = model.get("rows").map(|rows| ("rows".to_owned(), rows));
    let tiers = model.get("tiers").and_then(Value::as_object).into_iter().flatten();
    standard.into_iter().chain(tiers.map(|(tier, rows)| (format!("tiers.{tier}"), rows))).find_map(|(name, rows)| {
        rows.as_array()?.iter().enumerate().find_map(|(at, row)| {
            let whole = problem::<PriceRow>(row)?;
            // An unknown field may hold any JSON, so only the fields with rates are checked here.
            let rates = row.as_object().into_iter().flatten().filter(|(field, _)| RATES.contains(&field.as_str()));
            let field = rates
                .into_iter()
                .find_map(|(field, rate)| Some((format!("{name}[{at}].{field}"), problem::<Option<Rate>>(rate)?)));
            Some(field.unwrap_or_else(|| (format!("{name}[{at}]"), whole)))
        })
    })
}

fn problem<T: DeserializeOwned>(value: &Value) -> Option<String> {
    T::deserialize(value).err().map(|error| error.to_string())
}
