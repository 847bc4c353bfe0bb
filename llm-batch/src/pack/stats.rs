use crate::Stats;

/// Counts of a packing service since it was made.
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
    /// Calls that could be packed, and the requests that they took. Lone calls of the check are not in it.
    pub batches: Stats,
    /// Responses that came packed.
    pub packed: u64,
    /// Items that were asked again, because their answer was missing, there twice or not in their form.
    pub repaired: u64,
    /// Estimated input tokens of frames that were not sent once more.
    pub prefix_tokens: u64,
    /// Items that were asked alone for the check, beside the packed request.
    pub lone: u64,
    /// Output tokens of these lone calls that were reasoning.
    pub lone_reasoning: u64,
    /// Reasoning tokens of the same items' shares of the packed requests.
    pub packed_reasoning: u64,
}

impl PackStats {
    /// Returns the share of reasoning that packing saves, by the items that were also asked alone; `None` without any, and
    /// negative if packing takes more.
    ///
    /// It is a rate: how much a single response would have taken alone is not known.
    pub fn saved_reasoning(&self) -> Option<f64> {
        (self.lone_reasoning > 0).then(|| 1.0 - self.packed_reasoning as f64 / self.lone_reasoning as f64)
    }
}
