use crate::Stats;

/// Counts of a packing service since it was created.
///
/// ```
/// use llm_batch::pack::PackStats;
///
/// let stats = PackStats::default();
/// assert_eq!((stats.batches.saved(), stats.saved_reasoning()), (0, None));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackStats {
    /// Counts of calls that could be packed, and of the requests that were sent for them. The lone requests of the
    /// check are not included.
    pub batches: Stats,
    /// Number of responses that came from packed requests.
    pub packed: u64,
    /// Number of items that were requested again, because their answer was missing, occurred twice or did not have the
    /// requested form.
    pub repaired: u64,
    /// Estimated input tokens of the frames that were not sent, because the prompts of a pack share one frame.
    pub prefix_tokens: u64,
    /// Number of items that were also requested alone, for the check, and got both responses.
    pub lone: u64,
    /// Reasoning tokens in the responses to these lone requests.
    pub lone_reasoning: u64,
    /// Reasoning tokens in the same items' shares of the packed requests.
    pub packed_reasoning: u64,
}

impl PackStats {
    /// Returns the share of reasoning tokens that packing saves, measured by the items that were also requested alone.
    /// The share is `None` without such items, and negative if packing takes more reasoning tokens.
    ///
    /// The share is only an average, because the reasoning that a particular response would have taken alone is not
    /// known.
    pub fn saved_reasoning(&self) -> Option<f64> {
        (self.lone_reasoning > 0).then(|| 1.0 - self.packed_reasoning as f64 / self.lone_reasoning as f64)
    }
}
