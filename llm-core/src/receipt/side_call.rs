use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Usage;

/// Call that a vendor made in addition to the call that produced the response, for example to compact the conversation,
/// to ask an advisor, or of a model that declined to answer.
///
/// The call's usage is part of [`Accounting::usage`](super::Accounting::usage) and has a price of its own: see
/// [`PriceTable::cost_of`](crate::price::PriceTable::cost_of).
///
/// ```
/// use llm_core::{Usage, layer::SideCall};
///
/// let compaction = SideCall::new(Usage::new(60_000, 600));
/// let advisor = SideCall::new(Usage::new(900, 100)).with_model("claude-opus-5");
/// assert_eq!(compaction.model, None);
/// assert_eq!(advisor.model.as_deref(), Some("claude-opus-5"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SideCall {
    /// Model that the call went to; `None` for the model of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    /// Tokens that the call took.
    pub usage: Usage,
}

impl SideCall {
    /// Creates a side call of the model that produced the response.
    pub fn new(usage: Usage) -> Self {
        Self { model: None, usage }
    }

    /// Sets the model that the call went to.
    #[must_use]
    pub fn with_model(mut self, model: impl Into<Arc<str>>) -> Self {
        self.model = Some(model.into());
        self
    }
}
