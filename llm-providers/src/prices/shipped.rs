use std::sync::OnceLock;

use llm_core::price::PriceTable;

/// Returns the prices of OpenAI's chat and embedding models.
///
/// The price of a model that is not listed is unknown. The table does not list `gpt-4o-2024-05-13`, because its price
/// differs from the price of `gpt-4o`.
///
/// The table is parsed at the first call, as all tables of this module are. Each call returns a cheap clone.
pub fn openai() -> PriceTable {
    static TABLE: OnceLock<PriceTable> = OnceLock::new();
    table(&TABLE, include_str!("../../prices/openai.json"))
}

/// Returns the prices of Anthropic's Claude models.
pub fn anthropic() -> PriceTable {
    static TABLE: OnceLock<PriceTable> = OnceLock::new();
    table(&TABLE, include_str!("../../prices/anthropic.json"))
}

/// Returns the prices of Google's Gemini chat and embedding models.
pub fn gemini() -> PriceTable {
    static TABLE: OnceLock<PriceTable> = OnceLock::new();
    table(&TABLE, include_str!("../../prices/gemini.json"))
}

/// Returns the prices of Mistral's chat and embedding models.
pub fn mistral() -> PriceTable {
    static TABLE: OnceLock<PriceTable> = OnceLock::new();
    table(&TABLE, include_str!("../../prices/mistral.json"))
}

/// Returns the prices of DeepSeek's models.
pub fn deepseek() -> PriceTable {
    static TABLE: OnceLock<PriceTable> = OnceLock::new();
    table(&TABLE, include_str!("../../prices/deepseek.json"))
}

/// Returns the prices of the models that Groq serves.
pub fn groq() -> PriceTable {
    static TABLE: OnceLock<PriceTable> = OnceLock::new();
    table(&TABLE, include_str!("../../prices/groq.json"))
}

/// Returns the prices of xAI's models.
pub fn xai() -> PriceTable {
    static TABLE: OnceLock<PriceTable> = OnceLock::new();
    table(&TABLE, include_str!("../../prices/xai.json"))
}

/// Returns one table with the prices of all these vendors. No model is in the tables of two vendors.
///
/// ```
/// use llm_providers::prices;
///
/// assert!(!prices::all().as_of().is_empty());
/// ```
pub fn all() -> PriceTable {
    static TABLE: OnceLock<PriceTable> = OnceLock::new();
    let others = || [anthropic(), gemini(), mistral(), deepseek(), groq(), xai()];
    TABLE.get_or_init(|| others().iter().fold(openai(), PriceTable::merged)).clone()
}

fn table(parsed: &OnceLock<PriceTable>, json: &str) -> PriceTable {
    parsed
        .get_or_init(|| {
            PriceTable::from_json(json).expect("the tables in this crate are well formed: a test reads them")
        })
        .clone()
}
