//! Bills and prices of the vendor.

use crate::flavor::Format;
use crate::plan::CallId;

/// Kind of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallKind {
    /// A chat completion that is not streamed.
    Chat,
    /// A chat completion as a stream of events.
    ChatStream,
    /// An embeddings request.
    Embeddings,
}

/// Bill of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bill {
    /// Number of the call.
    pub call: CallId,
    /// Value of `x-request-id` or `request-id` in the response, even if the client never received the response.
    pub request_id: String,
    /// Id in the body of the response (`id`, `responseId`), for formats without a request id in headers; empty for
    /// embeddings.
    pub response_id: String,
    /// Format of the call.
    pub format: Format,
    /// API key of the call; empty if the format needs none.
    pub key: String,
    /// Model, as the request named it.
    pub model: String,
    /// Kind of the call.
    pub kind: CallKind,
    /// [`response_hash`](crate::openai::response_hash) of the request in OpenAI's form, which identifies the request.
    pub response_hash: u64,
    /// Tokens of the prompt, including those read from a cache or written to one.
    pub input_tokens: u64,
    /// Tokens of `input_tokens` that were billed at the cached price.
    pub cached_tokens: u64,
    /// Tokens of `input_tokens` that were written to a cache for five minutes.
    pub cache_write_5m_tokens: u64,
    /// Tokens of `input_tokens` that were written to a cache for an hour.
    pub cache_write_1h_tokens: u64,
    /// Generated tokens, including reasoning.
    pub output_tokens: u64,
    /// True if the client cancelled before the end of the response.
    pub cancelled: bool,
    /// Price of the call in nano-dollars. Only the sum is rounded up.
    pub nano_usd: u64,
}

/// Prices per million tokens, in nano-dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PriceRow {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
    /// Prices of tokens written to a cache for five minutes and for an hour.
    pub(crate) written: [u64; 2],
}

impl PriceRow {
    /// Returns the price of a call in nano-dollars, rounded up. `cached` and `written` are parts of `input`.
    pub(crate) fn cost(&self, input: u64, cached: u64, written: [u64; 2], output: u64) -> u64 {
        let term = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
        let [short, long] = written;
        let fresh = input.saturating_sub(cached).saturating_sub(short).saturating_sub(long);
        let terms = [
            term(fresh, self.input),
            term(cached, self.cached),
            term(short, self.written[0]),
            term(long, self.written[1]),
            term(output, self.output),
        ];
        let sum = terms.into_iter().fold(0_u128, u128::saturating_add);
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// Prices by model prefix.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prices {
    rows: Vec<(String, PriceRow)>,
    writes: Vec<(String, [u64; 2])>,
}

impl Prices {
    /// Adds the prices of models with a prefix. Writes to a cache cost as much as input.
    pub(crate) fn insert(&mut self, prefix: String, input: u64, cached: u64, output: u64) {
        self.rows.push((prefix, PriceRow { input, cached, output, written: [input; 2] }));
    }

    /// Sets the prices of writes to a cache for models with a prefix.
    pub(crate) fn insert_writes(&mut self, prefix: String, written: [u64; 2]) {
        self.writes.push((prefix, written));
    }

    /// Returns the prices with the longest prefix of `model`. Of several prices with the same prefix, the last one
    /// counts. A model without a matching prefix is free.
    pub(crate) fn row(&self, model: &str) -> PriceRow {
        let row = longest(&self.rows, model).unwrap_or_default();
        PriceRow { written: longest(&self.writes, model).unwrap_or(row.written), ..row }
    }
}

fn longest<T: Copy>(rows: &[(String, T)], model: &str) -> Option<T> {
    let rows = rows.iter().filter(|(prefix, _)| model.starts_with(prefix.as_str()));
    rows.max_by_key(|(prefix, _)| prefix.len()).map(|(_, row)| *row)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: PriceRow =
        PriceRow { input: 150_000_000, cached: 75_000_000, output: 600_000_000, written: [187_500_000, 300_000_000] };

    #[test]
    fn cost_sums_its_terms() {
        assert_eq!(ROW.cost(1_000, 0, [0; 2], 100), 150_000 + 60_000);
        assert_eq!(ROW.cost(1_000, 400, [0; 2], 0), 90_000 + 30_000);
        assert_eq!(ROW.cost(1_000, 400, [200, 100], 0), 45_000 + 30_000 + 37_500 + 30_000);
    }

    #[test]
    fn cost_rounds_up_once() {
        let row = PriceRow { input: 1, cached: 1, output: 1, written: [1; 2] };
        assert_eq!(row.cost(1, 0, [0; 2], 1), 1);
        assert_eq!(row.cost(600_000, 0, [0; 2], 400_000), 1);
        assert_eq!(row.cost(600_000, 0, [0; 2], 400_001), 2);
        assert_eq!(row.cost(0, 0, [0; 2], 0), 0);
    }

    #[test]
    fn cost_beyond_64_bits_saturates() {
        let row = PriceRow { input: u64::MAX, cached: 0, output: u64::MAX, written: [0; 2] };
        assert_eq!(row.cost(u64::MAX, 0, [0; 2], u64::MAX), u64::MAX);
    }

    #[test]
    fn price_longest_prefix_wins() {
        let mut prices = Prices::default();
        assert_eq!(prices.row("gpt-4o"), PriceRow::default());
        prices.insert(String::new(), 1, 0, 0);
        prices.insert("gpt-4o".into(), 2, 0, 0);
        prices.insert("gpt-4o-mini".into(), 3, 0, 0);
        prices.insert_writes("gpt-4o-m".into(), [7, 8]);
        assert_eq!((prices.row("gpt-4o-mini").written, prices.row("gpt-4o").written), ([7, 8], [2, 2]));
        assert_eq!(prices.row("gpt-4o-mini").input, 3);
        assert_eq!(prices.row("gpt-4o-2024-08-06").input, 2);
        assert_eq!(prices.row("other").input, 1);
    }
}
