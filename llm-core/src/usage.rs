use std::{
    iter::Sum,
    ops::{Add, AddAssign},
};

use serde::{Deserialize, Serialize};

/// Tokens that one response took, in one convention for all vendors.
///
/// `input` *includes* tokens read from and written to the vendor's prompt cache; `output` *includes* reasoning. Codecs
/// convert from each vendor's own convention. Details that are zero are left out of the serialized form.
///
/// ```
/// use llm_core::Usage;
///
/// let usage = Usage { input: 1_000, cache_read: 800, output: 50, ..Usage::default() };
/// assert_eq!(usage.uncached_input(), 200);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Total of input tokens.
    pub input: u64,
    /// Tokens among `input` that the vendor read from its prompt cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_read: u64,
    /// Tokens among `input` that the vendor wrote to its prompt cache, for its shorter lifetime (minutes).
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_write: u64,
    /// Tokens among `input` that the vendor wrote to its prompt cache for a longer lifetime (an hour or more).
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_write_long: u64,
    /// Audio tokens among `input`.
    #[serde(skip_serializing_if = "is_zero")]
    pub audio_input: u64,
    /// Audio tokens among `cache_read`, if the vendor counts them separately; `audio_input` includes them.
    #[serde(skip_serializing_if = "is_zero")]
    pub audio_cache_read: u64,
    /// Image tokens among `input`, if the vendor counts them separately.
    #[serde(skip_serializing_if = "is_zero")]
    pub image_input: u64,
    /// Tokens among `input` that the vendor's own tools added to the prompt, such as the results of a search or the
    /// content of a URL.
    #[serde(skip_serializing_if = "is_zero")]
    pub tool_prompt: u64,
    /// Total of output tokens.
    pub output: u64,
    /// Reasoning tokens among `output`.
    #[serde(skip_serializing_if = "is_zero")]
    pub reasoning: u64,
    /// Audio tokens among `output`.
    #[serde(skip_serializing_if = "is_zero")]
    pub audio_output: u64,
    /// Image tokens among `output`, if the vendor counts them separately.
    #[serde(skip_serializing_if = "is_zero")]
    pub image_output: u64,
    /// Number of searches by the vendor's own tools, if the vendor counts them. Searches are not tokens, and are
    /// charged in addition.
    #[serde(skip_serializing_if = "is_zero")]
    pub searches: u64,
}

impl Usage {
    /// Creates a usage from the totals of input and output, with all details zero.
    ///
    /// ```
    /// use llm_core::Usage;
    ///
    /// let usage = Usage { cache_read: 800, ..Usage::new(1_000, 50) };
    /// assert_eq!((usage.uncached_input(), usage.total()), (200, 1_050));
    /// ```
    pub fn new(input: u64, output: u64) -> Self {
        Self { input, output, ..Self::default() }
    }

    /// Returns the number of input tokens that were neither read from nor written to the vendor's prompt cache.
    pub fn uncached_input(&self) -> u64 {
        self.input
            .saturating_sub(self.cache_read)
            .saturating_sub(self.cache_write)
            .saturating_sub(self.cache_write_long)
    }

    /// Returns the sum of input and output tokens.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// Largest count of any kind that a response can have: a thousand times the longest prompts that models accept.
    pub const MAX_PLAUSIBLE: u64 = 1_000_000_000;

    /// Returns `false` if a count is larger than [`MAX_PLAUSIBLE`](Self::MAX_PLAUSIBLE), which shows that the usage was
    /// stated wrongly. Such a usage has no cost, and no total includes it.
    pub fn is_plausible(&self) -> bool {
        self.fields().into_iter().all(|count| count <= Self::MAX_PLAUSIBLE)
    }

    /// Returns the larger of each pair of counts. This combines two statements of a vendor about one response, each of
    /// which may leave counts at zero.
    ///
    /// ```
    /// use llm_core::Usage;
    ///
    /// let start = Usage { cache_read: 800, ..Usage::new(1_000, 1) };
    /// assert_eq!(start.max_each(Usage::new(0, 50)), Usage { output: 50, ..start });
    /// ```
    #[must_use]
    pub fn max_each(self, other: Self) -> Self {
        let (a, b) = (self.fields(), other.fields());
        Self::from_fields(std::array::from_fn(|i| a[i].max(b[i])))
    }

    /// Subtracts each count of `part` from the same count of this usage. A negative difference becomes zero.
    #[must_use]
    pub fn saturating_sub(self, part: Self) -> Self {
        let (a, b) = (self.fields(), part.fields());
        Self::from_fields(std::array::from_fn(|i| a[i].saturating_sub(b[i])))
    }

    /// Splits this usage in proportion to `weights`; the last share gets the remainders. Each count adds up, and each
    /// share is consistent: the counts that are part of `input` or `output` here are part of it in each share.
    pub fn split(&self, weights: &[u64]) -> Vec<Self> {
        let each = self.fields().map(|amount| split(amount, weights));
        let share = |i| Self::from_fields(std::array::from_fn(|field| each[field][i]));
        let mut shares: Vec<Self> = (0..weights.len()).map(share).collect();
        // The remainders of the parts may exceed the remainder of their sum, so each sum is computed from its parts.
        let cached = |usage: &Self| usage.cache_read + usage.cache_write + usage.cache_write_long;
        let uncached = self.uncached_input();
        let parts = [self.cache_read, self.cache_write, self.cache_write_long, uncached];
        if parts.into_iter().map(u128::from).sum::<u128>() == self.input.into() {
            for (share, uncached) in shares.iter_mut().zip(split(uncached, weights)) {
                share.input = uncached + cached(share);
            }
        }
        if let Some(shown) = self.output.checked_sub(self.reasoning) {
            for (share, shown) in shares.iter_mut().zip(split(shown, weights)) {
                share.output = shown + share.reasoning;
            }
        }
        shares
    }

    fn fields(&self) -> [u64; 13] {
        let Self {
            input,
            cache_read,
            cache_write,
            cache_write_long,
            audio_input,
            audio_cache_read,
            image_input,
            tool_prompt,
            output,
            reasoning,
            audio_output,
            image_output,
            searches,
        } = *self;
        [
            input,
            cache_read,
            cache_write,
            cache_write_long,
            audio_input,
            audio_cache_read,
            image_input,
            tool_prompt,
            output,
            reasoning,
            audio_output,
            image_output,
            searches,
        ]
    }

    fn from_fields(fields: [u64; 13]) -> Self {
        let [
            input,
            cache_read,
            cache_write,
            cache_write_long,
            audio_input,
            audio_cache_read,
            image_input,
            tool_prompt,
            output,
            reasoning,
            audio_output,
            image_output,
            searches,
        ] = fields;
        Self {
            input,
            cache_read,
            cache_write,
            cache_write_long,
            audio_input,
            audio_cache_read,
            image_input,
            tool_prompt,
            output,
            reasoning,
            audio_output,
            image_output,
            searches,
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn split(amount: u64, weights: &[u64]) -> Vec<u64> {
    let total: u128 = weights.iter().map(|w| u128::from(*w)).sum();
    let share = |weight: &u64| match total {
        0 => amount / weights.len() as u64,
        // A share never exceeds the whole amount, so it fits into 64 bits.
        _ => (u128::from(amount) * u128::from(*weight) / total) as u64,
    };
    let mut shares: Vec<u64> = weights.iter().map(share).collect();
    let given: u64 = shares.iter().sum();
    if let Some(last) = shares.last_mut() {
        *last += amount - given;
    }
    shares
}

impl Add for Usage {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (a, b) = (self.fields(), other.fields());
        Self::from_fields(std::array::from_fn(|i| a[i].saturating_add(b[i])))
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(usages: I) -> Self {
        usages.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usage_serialized_omits_details_of_zero() {
        let usage = Usage { cache_read: 3, ..Usage::new(7, 0) };
        let text = serde_json::to_string(&usage).unwrap();
        assert_eq!(text, r#"{"input":7,"cache_read":3,"output":0}"#);
        assert_eq!(serde_json::from_str::<Usage>(&text).unwrap(), usage);
    }

    proptest! {
        #[test]
        fn usage_max_each_never_smaller_than_either(a in prop::array::uniform13(0u64..9), b in prop::array::uniform13(0u64..9)) {
            let (a, b) = (Usage::from_fields(a), Usage::from_fields(b));
            let both = a.max_each(b);
            for one in [a, b] {
                prop_assert_eq!(one.saturating_sub(both), Usage::default());
                prop_assert_eq!(both.saturating_sub(one) + one, both);
            }
        }

        #[test]
        fn usage_shares_add_up(input in any::<u64>(), output in 0u64..1_000, weights in prop::collection::vec(0u64..1_000, 1..9)) {
            let usage = Usage { reasoning: output / 3, ..Usage::new(input, output) };
            let sum = usage.split(&weights).into_iter().fold(Usage::default(), Add::add);
            prop_assert_eq!(sum, usage);
        }

        #[test]
        fn usage_share_holds_its_own_parts(parts in prop::array::uniform6(0u64..50), weights in prop::collection::vec(0u64..9, 1..6)) {
            let [plain, cache_read, cache_write, cache_write_long, shown, reasoning] = parts;
            let input = plain + cache_read + cache_write + cache_write_long;
            let usage =
                Usage { cache_read, cache_write, cache_write_long, reasoning, ..Usage::new(input, shown + reasoning) };
            let shares = usage.split(&weights);
            for share in &shares {
                prop_assert!(share.cache_read + share.cache_write + share.cache_write_long <= share.input);
                prop_assert!(share.reasoning <= share.output);
            }
            prop_assert_eq!(shares.into_iter().fold(Usage::default(), Add::add), usage);
        }
    }
}
