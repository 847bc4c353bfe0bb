use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Usage;

/// A part of an answer's usage that is priced on its own: a step of the call that another model took, or that had a
/// prompt of its own.
///
/// ```
/// use llm_core::{Facts, Usage, UsagePart};
///
/// let mut facts = Facts::default();
/// facts.model = Some("large".into());
/// facts.usage = Some(Usage::new(60_700, 1_900));
/// facts.usage_parts = vec![UsagePart::new("small", Usage::new(60_000, 600))];
/// // The other 700 input and 1,300 output tokens are those of "large".
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct UsagePart {
    /// The model that took the step; `None` if it is the one that gave the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    /// Tokens of the step. They are part of the answer's usage.
    pub usage: Usage,
}

impl UsagePart {
    /// A step of the named model.
    pub fn new(model: impl Into<Arc<str>>, usage: Usage) -> Self {
        Self { model: Some(model.into()), usage }
    }

    /// A step of the model that gave the answer, with a prompt of its own.
    pub fn own(usage: Usage) -> Self {
        Self { model: None, usage }
    }
}
