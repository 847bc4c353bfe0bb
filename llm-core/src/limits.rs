use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What a vendor told about its limits, with an answer or an error. Read by the client, used by the key pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VendorLimits {
    /// Requests.
    pub requests: Option<VendorLimit>,
    /// Tokens, input and output together.
    pub tokens: Option<VendorLimit>,
    /// Input tokens, where the vendor counts them apart.
    pub input_tokens: Option<VendorLimit>,
    /// Output tokens, where the vendor counts them apart.
    pub output_tokens: Option<VendorLimit>,
    /// Those of service classes that the vendor counts apart (`priority`, `fast`), by its name for them.
    pub classes: BTreeMap<Arc<str>, VendorLimits>,
    /// The model that the limits are for, where they are per model.
    pub model: Option<Arc<str>>,
    /// The account, organisation or project that shares them, where the vendor names it.
    pub group: Option<Arc<str>>,
}

/// One limit as a vendor told it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VendorLimit {
    /// How much the window allows.
    pub limit: Option<u64>,
    /// How much of it is left.
    pub remaining: Option<u64>,
    /// How long until it is full again, counted from the answer.
    pub reset: Option<Duration>,
}

impl VendorLimits {
    /// Whether the vendor told nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl VendorLimit {
    /// A limit from its three parts; `None` if the vendor told none of them.
    pub fn new(limit: Option<u64>, remaining: Option<u64>, reset: Option<Duration>) -> Option<Self> {
        let told = Self { limit, remaining, reset };
        (told != Self::default()).then_some(told)
    }
}
