use std::sync::Arc;

use llm_core::Extra;

/// A model that a vendor lists.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Model {
    /// The name to ask for.
    pub id: Arc<str>,
    /// The name to show, where the vendor has one.
    pub name: Option<Arc<str>>,
    /// Largest number of input tokens, if the vendor states it.
    pub input_limit: Option<u64>,
    /// Largest number of output tokens, if the vendor states it.
    pub output_limit: Option<u64>,
    /// Unknown fields.
    pub extra: Extra,
}

impl Model {
    /// Creates a model of this name.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self { id: id.into(), ..Self::default() }
    }
}
