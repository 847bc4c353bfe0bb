use std::sync::Arc;

use llm_core::Extra;

/// Model in a vendor's list.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Model {
    /// Name of the model in requests.
    pub id: Arc<str>,
    /// Name of the model for display, if the vendor states one.
    pub name: Option<Arc<str>>,
    /// Largest number of input tokens, if the vendor states it.
    pub input_limit: Option<u64>,
    /// Largest number of output tokens, if the vendor states it.
    pub output_limit: Option<u64>,
    /// Fields of the vendor's entry that this type does not have.
    pub extra: Extra,
}

impl Model {
    /// Creates a model with this name for requests.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self { id: id.into(), ..Self::default() }
    }
}
