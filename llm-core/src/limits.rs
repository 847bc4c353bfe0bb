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
    /// Limits of service classes that the vendor counts apart (`priority`, `fast`), by its name for them.
    pub classes: BTreeMap<Arc<str>, VendorLimits>,
    /// Limits of the same amounts over further windows, where the vendor counts several at once (a minute and a day).
    pub further_windows: Vec<VendorLimits>,
    /// Model of the limits, if the vendor limits each model.
    pub model: Option<Arc<str>>,
    /// The account or organisation whose keys share them, where the vendor names it: keys with equal groups have one
    /// quota.
    pub group: Option<Arc<str>>,
    /// The project within the group that the key belongs to, where the vendor names it. It is for operators to read:
    /// limits count for the group.
    pub project: Option<Arc<str>>,
}

/// One limit of a vendor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VendorLimit {
    /// Amount that the window allows.
    pub limit: Option<u64>,
    /// Amount that is left.
    pub remaining: Option<u64>,
    /// Time until the limit is full again, counted from the response.
    pub reset: Option<Duration>,
    /// Time over which the limit counts, such as a minute or a day; `None` if the codec does not know it. Then only
    /// that nothing is left until the reset can be relied on.
    pub window: Option<Duration>,
}

impl VendorLimits {
    /// Returns `true` if the vendor stated nothing: no limit, and no group.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl VendorLimit {
    /// A minute, over which most vendors' limits count.
    pub const MINUTE: Duration = Duration::from_secs(60);
    /// A day.
    pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// Creates a limit over an unknown window from its three parts; `None` if the vendor sent none of them.
    pub fn new(limit: Option<u64>, remaining: Option<u64>, reset: Option<Duration>) -> Option<Self> {
        let limit = Self { limit, remaining, reset, window: None };
        (limit != Self::default()).then_some(limit)
    }

    /// Sets the time over which the limit counts.
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
