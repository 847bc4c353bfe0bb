use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Limits that a vendor stated in a response or an error. The client reads them from the response's headers, and a key
/// pool stays within them.
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
    /// Limit on requests.
    pub requests: Option<VendorLimit>,
    /// Limit on tokens, input and output together.
    pub tokens: Option<VendorLimit>,
    /// Limit on input tokens, if the vendor counts them separately.
    pub input_tokens: Option<VendorLimit>,
    /// Limit on output tokens, if the vendor counts them separately.
    pub output_tokens: Option<VendorLimit>,
    /// Limits of service classes that the vendor counts separately (`priority`, `fast`), by the vendor's name for the
    /// class.
    pub classes: BTreeMap<Arc<str>, VendorLimits>,
    /// Limits of the same amounts over other windows, if the vendor counts over several windows at once (a minute and a
    /// day).
    pub further_windows: Vec<VendorLimits>,
    /// Model that the limits are for, if the vendor has limits for each model.
    pub model: Option<Arc<str>>,
    /// Name of the account or organisation whose keys share the limits, if the vendor states it. Keys with the same
    /// group share one quota.
    pub group: Option<Arc<str>>,
    /// Name of the key's project within the group, if the vendor states it. Operators read it; limits are shared by the
    /// whole group.
    pub project: Option<Arc<str>>,
}

/// Limit of a vendor on one amount, such as requests or tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VendorLimit {
    /// Amount that the limit allows in a window.
    pub limit: Option<u64>,
    /// Amount that remains in the current window.
    pub remaining: Option<u64>,
    /// Time from the response until the whole limit is available again.
    pub reset: Option<Duration>,
    /// Length of the window that the limit counts over, such as a minute or a day; `None` if the codec does not know
    /// it. If nothing remains of a limit without a window, nothing is available before the reset. Nothing else is
    /// certain about such a limit.
    pub window: Option<Duration>,
}

impl VendorLimits {
    /// Returns `true` if the vendor stated neither a limit nor a group.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl VendorLimit {
    /// Window of one minute, over which most vendors' limits count.
    pub const MINUTE: Duration = Duration::from_secs(60);
    /// Window of one day.
    pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// Creates a limit without a known window; `None` if the vendor stated none of the three values.
    pub fn new(limit: Option<u64>, remaining: Option<u64>, reset: Option<Duration>) -> Option<Self> {
        let limit = Self { limit, remaining, reset, window: None };
        (limit != Self::default()).then_some(limit)
    }

    /// Sets the length of the window that the limit counts over.
    ///
    /// ```
    /// use llm_core::layer::VendorLimit;
    ///
    /// let a_day = VendorLimit::new(Some(14_400), Some(14_370), None).map(|limit| limit.with_window(VendorLimit::DAY));
    /// assert_eq!(a_day.and_then(|limit| limit.window), Some(VendorLimit::DAY));
    /// ```
    #[must_use]
    pub fn with_window(self, window: Duration) -> Self {
        Self { window: Some(window), ..self }
    }
}
