//! Reads the table of model prices that LiteLLM publishes.
//!
//! A row's fields name a kind of token, a length of prompt and a service class:
//! `cache_read_input_token_cost_above_200k_tokens_flex`. Each field becomes a rate of one [`PriceRow`]. A field that a
//! [`PriceTable`] cannot represent becomes an [`Omission`].

use std::{collections::BTreeMap, fmt, io};

use llm_core::price::{ModelPrice, Price, PriceRow, PriceTable, PriceTableError, Rate, ServiceTier};
use serde_json::value::RawValue;

/// Fields of a row. Values are kept as they are written, so that prices stay decimal.
type Fields = BTreeMap<String, Box<RawValue>>;

/// Prices from the table that LiteLLM publishes, by provider; see [`litellm`].
#[derive(Clone, Debug)]
pub struct LiteLlmTable {
    empty: PriceTable,
    providers: BTreeMap<String, PriceTable>,
    omissions: Vec<Omission>,
}

/// Row of LiteLLM's table, or field of a row, that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Omission {
    /// Name of the row, as the file writes it.
    pub row: String,
    /// Name of the field, if only this field was left out; `None` if the whole row was.
    pub field: Option<String>,
    /// Reason why the row or the field was left out.
    pub reason: String,
}

/// Kind of price that a field can state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Input,
    CacheRead,
    CacheWrite,
    CacheWriteLong,
    AudioInput,
    AudioCacheRead,
    Output,
    AudioOutput,
    ImageOutput,
    /// Reasoning. A price table has no price of reasoning, so the price must be equal to that of output.
    Reasoning,
    /// Images in the input. Their price must be equal to that of input.
    ImageInput,
    /// Cache reads by the older name of the field. Their price must be equal to that of cache reads.
    CacheHit,
}

/// Prefixes of field names, with the kind of price. A prefix must precede every shorter prefix with which it begins.
const STEMS: [(&str, Kind); 11] = [
    ("input_cost_per_token_cache_hit", Kind::CacheHit),
    ("input_cost_per_token", Kind::Input),
    ("input_cost_per_audio_token", Kind::AudioInput),
    ("input_cost_per_image_token", Kind::ImageInput),
    ("cache_read_input_token_cost", Kind::CacheRead),
    ("cache_read_input_audio_token_cost", Kind::AudioCacheRead),
    ("cache_creation_input_token_cost", Kind::CacheWrite),
    ("output_cost_per_token", Kind::Output),
    ("output_cost_per_audio_token", Kind::AudioOutput),
    ("output_cost_per_image_token", Kind::ImageOutput),
    ("output_cost_per_reasoning_token", Kind::Reasoning),
];
/// Charges for each request of a model, or for kinds of input that no usage counts. A row with such a charge is left
/// out, because its other prices alone would be too low.
const UNCOUNTED: [&str; 2] = ["input_cost_per_", "citation_cost_per_token"];
const SOURCE: &str = "LiteLLM's table model_prices_and_context_window; not authoritative: the vendor's own pages are";

/// Reads the table that LiteLLM publishes (`model_prices_and_context_window.json`), so that prices are current without
/// a release of this crate.
///
/// `as_of` is the day of the file, which does not state it. The rows of each provider become a [`PriceTable`] for that
/// provider, by LiteLLM's name for it (`openai`, `azure`, `gemini`, `xai`), with model names that do not contain the
/// provider: `gemini/gemini-2.5-pro` is `gemini-2.5-pro` at `gemini`. Prices of plain, cached, written and audio
/// tokens, of images in the output, of searches, of service classes and of long prompts, and surcharges are read
/// exactly from the decimal text.
///
/// Prices that a price table cannot represent are left out, never guessed, and [`omissions`](LiteLlmTable::omissions)
/// names them: rows priced by the character, second or request, a price of reasoning other than that of output, and a
/// model that is listed as free, because the source also writes 0 for an unknown price. A kind of cached token without
/// a price in its row costs as much as plain input, as in every [`Price`].
///
/// ```
/// use llm_core::{Usage, price::PriceTable};
/// use llm_providers::prices;
///
/// let file = br#"{"xai/grok-9": {"litellm_provider": "xai", "mode": "chat", "input_cost_per_token": 2e-06,
///     "output_cost_per_token": 1e-05, "file_search_cost_per_1k_calls": 0.0025}}"#;
/// let read = prices::litellm(&file[..], "2026-11-21")?;
/// for omission in read.omissions() {
///     println!("{omission}"); // "xai/grok-9": file_search_cost_per_1k_calls has no place in a price table
/// }
/// // Current prices over those of this crate; your own over both.
/// let table = prices::all().merged(&read.provider("xai"));
/// assert_eq!(table.cost("grok-9", &Usage::new(1_000, 100))?.to_string(), "$0.003");
/// # assert_eq!(read.omissions().len(), 1);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Returns an error if the reader fails or its content is not a JSON object. A fault in a single row never makes the
/// table unreadable.
pub fn litellm(reader: impl io::Read, as_of: &str) -> Result<LiteLlmTable, PriceTableError> {
    let rows: BTreeMap<String, Box<RawValue>> = serde_json::from_reader(reader)?;
    let head = serde_json::json!({"as_of": as_of, "source": SOURCE, "models": {}});
    let empty = PriceTable::from_json(&head.to_string())?;
    let mut table = LiteLlmTable { empty, providers: BTreeMap::new(), omissions: Vec::new() };
    // A name with its provider's prefix takes precedence over the same name without it.
    let (prefixed, plain): (Vec<_>, Vec<_>) = rows.iter().partition(|(name, _)| name.contains('/'));
    for (name, row) in prefixed.into_iter().chain(plain) {
        if let Err(reason) = table.take(name, row) {
            table.omissions.push(Omission { row: name.clone(), field: None, reason });
        }
    }
    Ok(table)
}

impl LiteLlmTable {
    /// Returns the prices of a provider's models, by LiteLLM's name for the provider. The table is empty if LiteLLM
    /// lists none.
    pub fn provider(&self, name: &str) -> PriceTable {
        self.providers.get(name).unwrap_or(&self.empty).clone()
    }

    /// Returns the prices of all providers' models. Many models are listed by several providers at different prices. If
    /// the provider of a call is not known before it is sent, as in a limiter, use [`provider`](Self::provider).
    pub fn all(&self) -> PriceTable {
        self.providers.values().fold(self.empty.clone(), PriceTable::merged)
    }

    /// Returns the names of the providers, sorted.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        self.providers.keys().map(String::as_str)
    }

    /// Returns the rows and fields that were left out, with the reasons.
    pub fn omissions(&self) -> &[Omission] {
        &self.omissions
    }

    fn take(&mut self, name: &str, row: &RawValue) -> Result<(), String> {
        let fields: Fields = serde_json::from_str(row.get()).map_err(|_| "is no JSON object".to_owned())?;
        let provider = text(&fields, "litellm_provider").ok_or("names no provider")?;
        let model = name.strip_prefix(&format!("{provider}/")).unwrap_or(name);
        let (price, omitted) = model_price(&fields)?;
        let listed = self.providers.get(&provider).unwrap_or(&self.empty);
        match listed.models().find(|known| *known == model).and_then(|known| listed.model(known)) {
            Some(known) if *known == price => return Ok(()),
            Some(_) => return Err(format!("differs from {provider}/{model}, which counts")),
            None => {}
        }
        let listed = PriceTable::with(self.empty.clone(), model, price).map_err(|error| error.to_string())?;
        let listed = listed.provider(provider.as_str());
        let table = self.providers.remove(&provider).unwrap_or_else(|| self.empty.clone());
        self.providers.insert(provider, table.merged(&listed));
        let omitted =
            omitted.into_iter().map(|(field, reason)| Omission { row: name.to_owned(), field: Some(field), reason });
        self.omissions.extend(omitted);
        Ok(())
    }
}

/// Returns the prices of a model, and the fields that were left out, with the reasons.
fn model_price(fields: &Fields) -> Result<(ModelPrice, Vec<(String, String)>), String> {
    let mut omitted = Vec::new();
    let mut rates: BTreeMap<(ServiceTier, u64), BTreeMap<Kind, Rate>> = BTreeMap::new();
    let is_embedding = text(fields, "mode").as_deref() == Some("embedding");
    for (field, value) in fields.iter().filter(|(field, _)| field.contains("cost")) {
        let mut omit = |reason: &str| omitted.push((field.clone(), reason.to_owned()));
        let rate = rate(value.get());
        match (place(field), rate) {
            (Some((Kind::Output, tier, above)), Some(rate)) if is_embedding => {
                rates.entry((tier, above)).or_default().insert(Kind::Output, rate);
            }
            (Some(_), Some(rate)) if rate == Rate::default() => omit("is 0, which may mean that it is not known"),
            (Some((kind, tier, above)), Some(rate)) => {
                rates.entry((tier, above)).or_default().insert(kind, rate);
            }
            (Some(_), None) => return Err(format!("{field} is no price")),
            (None, _) if field == "search_context_cost_per_query" => {}
            (None, rate) if rate == Some(Rate::default()) => {}
            (None, _) if !is_embedding && UNCOUNTED.iter().any(|prefix| field.starts_with(prefix)) => {
                return Err(format!("{field} charges for what no usage counts"));
            }
            (None, _) => omit("has no place in a price table"),
        }
    }
    let search = search(fields).unwrap_or_else(|reason| {
        omitted.push(("search_context_cost_per_query".to_owned(), reason));
        None
    });
    let mut price = ModelPrice { surcharges: surcharges(fields, &mut omitted), ..ModelPrice::default() };
    price.max_input = whole(fields, "max_input_tokens");
    price.max_output = whole(fields, "max_output_tokens");
    for ((tier, above), rates) in rates {
        match price_of(&rates, is_embedding, search) {
            Ok(row) => rows_of(&mut price, &tier).push(PriceRow { above, price: row }),
            Err(reason) if tier == ServiceTier::Standard => return Err(reason),
            Err(reason) => omitted.push((format!("service class {tier}"), reason)),
        }
    }
    match price.rows.is_empty() {
        true => Err("states no price of tokens".to_owned()),
        false => Ok((price, omitted)),
    }
}

fn rows_of<'p>(price: &'p mut ModelPrice, tier: &ServiceTier) -> &'p mut Vec<PriceRow> {
    match tier {
        ServiceTier::Standard => &mut price.rows,
        other => price.tiers.entry(other.clone()).or_default(),
    }
}

/// Returns the prices of one row. Returns an error for a kind whose price would have to be equal to that of another
/// kind and is not.
fn price_of(rates: &BTreeMap<Kind, Rate>, is_embedding: bool, search: Option<(Rate, bool)>) -> Result<Price, String> {
    let rate = |kind| rates.get(&kind).copied();
    let input = rate(Kind::Input).ok_or("states no price of input tokens")?;
    let output = rate(Kind::Output).or(is_embedding.then(Rate::default)).ok_or("states no price of output tokens")?;
    let cache_read = rate(Kind::CacheRead).or(rate(Kind::CacheHit));
    // The price of images in the input is ignored for embeddings, because embedding requests of this library contain
    // only text.
    let equal = [
        (Kind::Reasoning, Some(output), "reasoning and other output cost different amounts"),
        (Kind::ImageInput, (!is_embedding).then_some(input), "images and other input cost different amounts"),
        (Kind::CacheHit, cache_read, "two prices of cached tokens are stated"),
    ];
    if let Some((.., reason)) = equal
        .into_iter()
        .find(|(kind, other, _)| matches!((rate(*kind), other), (Some(own), Some(other)) if own != *other))
    {
        return Err(reason.to_owned());
    }
    Ok(Price {
        input,
        cache_read,
        cache_write: rate(Kind::CacheWrite),
        cache_write_long: rate(Kind::CacheWriteLong),
        audio_input: rate(Kind::AudioInput),
        audio_cache_read: rate(Kind::AudioCacheRead),
        output,
        audio_output: rate(Kind::AudioOutput),
        image_output: rate(Kind::ImageOutput),
        search: search.map(|(rate, _)| rate),
        search_per_request: search.is_some_and(|(_, per_request)| per_request),
    })
}

/// Parses a field's name: kind of token, service class, and length of prompt above which the price applies.
fn place(field: &str) -> Option<(Kind, ServiceTier, u64)> {
    let (mut rest, mut kind) = STEMS.iter().find_map(|(stem, kind)| Some((field.strip_prefix(stem)?, *kind)))?;
    let (mut tier, mut above) = (ServiceTier::Standard, 0);
    while let Some(condition) = rest.strip_prefix("_above_") {
        rest = if let Some(rest) = condition.strip_prefix("1hr").or(condition.strip_prefix("12hr")) {
            (kind == Kind::CacheWrite).then_some(())?;
            kind = Kind::CacheWriteLong;
            rest
        } else {
            let (thousands, rest) = condition.split_once("k_tokens")?;
            above = thousands.parse::<u64>().ok()?.checked_mul(1_000)?;
            rest
        };
    }
    if let Some(class) = rest.strip_prefix('_') {
        class.bytes().all(|b| b.is_ascii_lowercase()).then_some(())?;
        tier = ServiceTier::named(if class == "batches" { "batch" } else { class });
        rest = "";
    }
    rest.is_empty().then_some((kind, tier, above))
}

/// Returns the price of a search, and `true` if it is the price of a request with one or more searches; `None` if the
/// row states no price.
fn search(fields: &Fields) -> Result<Option<(Rate, bool)>, String> {
    let Some(sizes) = fields.get("search_context_cost_per_query") else { return Ok(None) };
    let sizes: Fields = serde_json::from_str(sizes.get()).map_err(|_| "is no JSON object".to_owned())?;
    let mut rates = sizes.values().map(|value| rate(value.get()));
    let Some(first) = rates.next().flatten() else { return Err("states no price".to_owned()) };
    if first == Rate::default() {
        return Err("is 0, which may mean that it is not known".to_owned());
    }
    if !rates.all(|rate| rate == Some(first)) {
        return Err("costs different amounts by the size of its context, which no usage counts".to_owned());
    }
    // Gemini bills each request with searches, unless the row states another unit.
    let is_gemini = text(fields, "litellm_provider").as_deref() == Some("gemini");
    match text(fields, "web_search_billing_unit").as_deref() {
        Some("per_query") => Ok(Some((first, false))),
        None => Ok(Some((first, is_gemini))),
        Some(unit) => Err(format!("is billed by an unknown unit, {unit:?}")),
    }
}

/// Reads the surcharges' factors in thousandths: Anthropic's `us` and `fast`, and OpenAI's `regional`, if the price is
/// the same in every region.
fn surcharges(fields: &Fields, omitted: &mut Vec<(String, String)>) -> BTreeMap<String, u32> {
    let mut omit = |field: &str, reason: &str| omitted.push((field.to_owned(), reason.to_owned()));
    let own = fields.get("provider_specific_entry").and_then(|own| serde_json::from_str::<Fields>(own.get()).ok());
    let own = own.into_iter().flatten().map(|(way, factor)| (way, thousandths(factor.get())));
    let mut factors = BTreeMap::new();
    for (way, factor) in own {
        match factor {
            Some(factor) => drop(factors.insert(way, factor)),
            None => omit("provider_specific_entry", "is no factor"),
        }
    }
    const REGIONS: &str = "regional_processing_uplift_multiplier_";
    let mut regions = fields.iter().filter(|(field, _)| field.starts_with(REGIONS));
    if let Some((field, first)) = regions.next() {
        match thousandths(first.get()).filter(|_| regions.all(|(_, other)| other.get() == first.get())) {
            Some(factor) => drop(factors.insert("regional".to_owned(), factor)),
            None => omit(field, "differs from region to region, which no response states"),
        }
    }
    if fields.contains_key("off_peak_pricing") {
        omit("off_peak_pricing", "depends on the hour; the price of peak hours counts");
    }
    factors
}

fn text(fields: &Fields, field: &str) -> Option<String> {
    serde_json::from_str(fields.get(field)?.get()).ok()
}

fn whole(fields: &Fields, field: &str) -> Option<u64> {
    serde_json::from_str(fields.get(field)?.get()).ok()
}

/// Converts a JSON number of dollars for one token to nano-dollars for a million tokens. The result is rounded to the
/// nearest, because the source writes some prices as binary fractions (`7.500000000000001e-07`).
fn rate(json: &str) -> Option<Rate> {
    scaled(json, 15).map(Rate::from_nanos)
}

fn thousandths(json: &str) -> Option<u32> {
    scaled(json, 3)?.try_into().ok()
}

/// Returns a decimal number × 10^`digits`, rounded; `None` if it is negative, not a number, or out of range.
fn scaled(json: &str, digits: i32) -> Option<u64> {
    let (mantissa, exponent) = json.split_once(['e', 'E']).unwrap_or((json, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let number: u128 = format!("{whole}{fraction}").parse().ok()?;
    let shift = exponent.parse::<i32>().ok()?.checked_sub(fraction.len().try_into().ok()?)?.checked_add(digits)?;
    let unit = 10_u128.checked_pow(shift.unsigned_abs())?;
    let scaled = if shift < 0 { number.checked_add(unit / 2)? / unit } else { number.checked_mul(unit)? };
    scaled.try_into().ok()
}

impl fmt::Display for Omission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, field, reason } = self;
        match field {
            Some(field) => write!(f, "{row:?}: {field} {reason}"),
            None => write!(f, "{row:?} {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_reads_decimals_exactly() {
        for (json, nanos) in [
            ("2.5e-06", Some(2_500_000_000)),
            ("1.38E-6", Some(1_380_000_000)),
            ("0.00000015", Some(150_000_000)),
            ("7.500000000000001e-07", Some(750_000_000)),
            ("3", Some(3_000_000_000_000_000)),
            ("0", Some(0)),
            ("0.0", Some(0)),
            ("1e-16", Some(0)),
            ("-1e-06", None),
            ("1e60", None),
            ("1e-999999999999", None),
            ("\"2e-06\"", None),
            ("null", None),
            ("1e", None),
        ] {
            assert_eq!(scaled(json, 15), nanos, "{json}");
        }
    }

    #[test]
    fn place_reads_kind_length_and_class() {
        let at = |field| place(field).map(|(kind, tier, above)| (kind as u8, tier.name().to_owned(), above));
        let expect = |kind: Kind, tier: &str, above| Some((kind as u8, tier.to_owned(), above));
        assert_eq!(at("input_cost_per_token"), expect(Kind::Input, "standard", 0));
        assert_eq!(at("output_cost_per_token_above_272k_tokens_flex"), expect(Kind::Output, "flex", 272_000));
        let long = "cache_creation_input_token_cost_above_1hr_above_100k_tokens_batches";
        assert_eq!(at(long), expect(Kind::CacheWriteLong, "batch", 100_000));
        assert_eq!(at("input_cost_per_token_cache_hit"), expect(Kind::CacheHit, "standard", 0));
        for field in ["input_cost_per_character", "input_cost_per_token_above_1hr", "input_cost_per_tokens", "cost"] {
            assert_eq!(at(field), None, "{field}");
        }
    }
}
