use llm_core::Usd;

use super::Row;

/// Differences in a row's account; the [module's docs](crate::ledger) state the identities.
///
/// NOTE: a response that ends is booked in two steps, so a snapshot taken in between can find `between` off by
/// that response's amount. When no call is running, the account must be balanced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Balance {
    /// `paid − used − wasted − open`: zero in every row.
    pub attempts: Usd,
    /// `list + unlisted − useful − saved`: zero in every row.
    pub responses: Usd,
    /// `used − useful`: zero in the total. In the row of a label or a model: the amount of its attempts that responses
    /// of other rows used, less the amount that its responses used of theirs.
    pub between: Usd,
}

impl Balance {
    /// Returns true if all differences are zero.
    pub fn is_balanced(&self) -> bool {
        *self == Self::default()
    }
}

impl Row {
    /// Returns the differences in the account of this row.
    pub fn balance(&self) -> Balance {
        Balance {
            attempts: self.paid - self.used - self.wasted.total() - self.open,
            responses: self.list + self.unlisted - self.useful - self.saved.total(),
            between: self.used - self.useful,
        }
    }
}
