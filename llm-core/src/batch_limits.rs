/// Limits of one request that holds several items, such as the texts of an embeddings request.
///
/// A layer that merges calls keeps each merged request within them. `llm_providers::batch_limits` returns the values of
/// a vendor.
///
/// ```
/// use llm_core::layer::BatchLimits;
///
/// let limits = BatchLimits::of_items(2_048).with_tokens_per_item(8_192).with_tokens(300_000);
/// assert_eq!((limits.items, limits.tokens_per_item, limits.tokens), (2_048, Some(8_192), Some(300_000)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchLimits {
    /// Largest number of items in a request, at least 1.
    pub items: usize,
    /// Largest number of input tokens of an item; `None` for no limit.
    pub tokens_per_item: Option<u64>,
    /// Largest number of input tokens of a request; `None` for no limit.
    pub tokens: Option<u64>,
}

impl BatchLimits {
    /// Creates limits that allow `items` items in a request (0 counts as 1) and any number of tokens.
    pub const fn of_items(items: usize) -> Self {
        Self { items: if items == 0 { 1 } else { items }, tokens_per_item: None, tokens: None }
    }

    /// Sets the largest number of input tokens of an item.
    #[must_use]
    pub const fn with_tokens_per_item(self, tokens: u64) -> Self {
        Self { tokens_per_item: Some(tokens), ..self }
    }

    /// Sets the largest number of input tokens of a request.
    #[must_use]
    pub const fn with_tokens(self, tokens: u64) -> Self {
        Self { tokens: Some(tokens), ..self }
    }
}
