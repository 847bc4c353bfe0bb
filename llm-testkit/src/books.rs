//! What the vendor bills.

use crate::plan::CallId;

/// What a call asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallKind {
    /// A chat completion in one piece.
    Chat,
    /// A chat completion as a stream of events.
    ChatStream,
    /// Embeddings.
    Embeddings,
}

/// One line of the vendor's books: a call that it charges for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bill {
    /// The call's number.
    pub call: CallId,
    /// The `x-request-id` of the answer, also if the answer never reached the client.
    pub request_id: String,
    /// The key that the call was made with.
    pub key: String,
    /// The model, as the request named it.
    pub model: String,
    /// What was asked for.
    pub kind: CallKind,
    /// [`answer_hash`](crate::openai::answer_hash) of the request: which question this was.
    pub answer_hash: u64,
    /// Tokens of the prompt, cached ones included.
    pub input_tokens: u64,
    /// Those of `input_tokens` that were billed at the cached price.
    pub cached_tokens: u64,
    /// Tokens generated, reasoning included.
    pub output_tokens: u64,
    /// Whether the client left before the answer's end.
    pub cancelled: bool,
    /// The price in nano-dollars, rounded up once.
    pub nano_usd: u64,
}

/// Prices per million tokens, in nano-dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PriceRow {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
}

impl PriceRow {
    /// The price of one call in nano-dollars, rounded up. `cached` is a part of `input`.
    pub(crate) fn cost(&self, input: u64, cached: u64, output: u64) -> u64 {
        let term = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
        let sum = term(input.saturating_sub(cached), self.input)
            .saturating_add(term(cached, self.cached))
            .saturating_add(term(output, self.output));
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// The rows by model prefix.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prices(Vec<(String, PriceRow)>);

impl Prices {
    pub(crate) fn insert(&mut self, prefix: String, row: PriceRow) {
        self.0.push((prefix, row));
    }

    /// The row with the longest prefix of `model`; the last one given wins among equals. Without any, the call is free.
    pub(crate) fn row(&self, model: &str) -> PriceRow {
        let rows = self.0.iter().filter(|(prefix, _)| model.starts_with(prefix.as_str()));
        rows.max_by_key(|(prefix, _)| prefix.len()).map_or_else(PriceRow::default, |(_, row)| *row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: PriceRow = PriceRow { input: 150_000_000, cached: 75_000_000, output: 600_000_000 };

    #[test]
    fn a_cost_is_the_sum_of_its_terms() {
        assert_eq!(ROW.cost(1_000, 0, 100), 150_000 + 60_000);
        assert_eq!(ROW.cost(1_000, 400, 0), 90_000 + 30_000);
    }

    #[test]
    fn a_cost_rounds_up_once() {
        let row = PriceRow { input: 1, cached: 1, output: 1 };
        assert_eq!(row.cost(1, 0, 1), 1);
        assert_eq!(row.cost(600_000, 0, 400_000), 1);
        assert_eq!(row.cost(600_000, 0, 400_001), 2);
        assert_eq!(row.cost(0, 0, 0), 0);
    }

    #[test]
    fn a_cost_beyond_64_bits_saturates() {
        let row = PriceRow { input: u64::MAX, cached: 0, output: u64::MAX };
        assert_eq!(row.cost(u64::MAX, 0, u64::MAX), u64::MAX);
    }

    #[test]
    fn the_longest_prefix_wins_and_no_row_is_free() {
        let mut prices = Prices::default();
        assert_eq!(prices.row("gpt-4o"), PriceRow::default());
        prices.insert(String::new(), PriceRow { input: 1, ..ROW });
        prices.insert("gpt-4o".into(), PriceRow { input: 2, ..ROW });
        prices.insert("gpt-4o-mini".into(), PriceRow { input: 3, ..ROW });
        assert_eq!(prices.row("gpt-4o-mini").input, 3);
        assert_eq!(prices.row("gpt-4o-2024-08-06").input, 2);
        assert_eq!(prices.row("other").input, 1);
    }
}
