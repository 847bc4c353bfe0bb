use std::fmt;

use llm_core::{Usd, layer::Purpose};

/// Reason why a paid response was used by no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Waste {
    /// The attempt failed, and the vendor charged it.
    Failed,
    /// The caller dropped the call, or a layer above did not return the response.
    Abandoned,
    /// A cache made the call to replace a stored response.
    Revalidated,
    /// A cache made the call to check a stored response.
    Verified,
}

/// Amounts of wasted spend, by cause.
///
/// ```
/// use llm_core::Usd;
/// use llm_providers::{Waste, WastedSpend};
///
/// let mut wasted = WastedSpend::default();
/// wasted.add(Waste::Failed, Usd::from_nanos(2_000));
/// wasted.add(Waste::Abandoned, Usd::from_nanos(500));
/// assert_eq!(wasted.of(Waste::Failed), Usd::from_nanos(2_000));
/// assert_eq!(wasted.total(), Usd::from_nanos(2_500));
/// assert_eq!(wasted.iter().count(), 2);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct WastedSpend([Usd; Waste::ALL.len()]);

impl Waste {
    /// All causes of wasted spend.
    pub const ALL: [Self; 4] = [Self::Failed, Self::Abandoned, Self::Revalidated, Self::Verified];

    /// Returns the cause in one word, for tables and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
            Self::Revalidated => "revalidated",
            Self::Verified => "verified",
        }
    }

    /// Returns the cause of waste for a complete response that no caller used, by the purpose of its call.
    pub(super) fn unused(purpose: Option<Purpose>) -> Self {
        match purpose {
            Some(Purpose::Revalidation) => Self::Revalidated,
            Some(Purpose::Verification) => Self::Verified,
            _ => Self::Abandoned,
        }
    }
}

impl WastedSpend {
    /// Adds an amount.
    pub fn add(&mut self, cause: Waste, amount: Usd) {
        self.0[cause as usize] += amount;
    }

    /// Returns the amount of one cause.
    pub fn of(&self, cause: Waste) -> Usd {
        self.0[cause as usize]
    }

    /// Returns the causes whose amount is not zero, with their amounts.
    pub fn iter(&self) -> impl Iterator<Item = (Waste, Usd)> + '_ {
        Waste::ALL.into_iter().map(|cause| (cause, self.of(cause))).filter(|(_, amount)| !amount.is_zero())
    }

    /// Returns the sum of all amounts.
    pub fn total(&self) -> Usd {
        self.0.iter().copied().sum()
    }
}

impl fmt::Debug for WastedSpend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
