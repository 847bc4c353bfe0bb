use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A vendor's limits, as it sent them with a response or an error. The client reads them for the key pool.
///
/// ```
/// use llm_core::layer::{VendorLimit, VendorLimits};
///
/// let mut limits = VendorLimits::default();
/// limits.requests = VendorLimit::new(Some(500), Some(499), None);
/// assert!(!limits.is_empty());
/// ```
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

/// One limit of a vendor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VendorLimit {
    /// Amount that the window allows.
    pub limit: Option<u64>,
    /// Amount that is left.
    pub remaining: Option<u64>,
    /// Time until it is full again, counted from the response.
    pub reset: Option<Duration>,
}

impl VendorLimits {
    /// Returns `true` if there is no limit.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl VendorLimit {
    /// Creates a limit from its three parts; `None` if the vendor sent none of them.
    pub fn new(limit: Option<u64>, remaining: Option<u64>, reset: Option<Duration>) -> Option<Self> {
        let limit = Self { limit, remaining, reset };
        (limit != Self::default()).then_some(limit)
    }
}
