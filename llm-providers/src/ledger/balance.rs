use llm_core::Usd;

use super::Row;

/// Differences between the two sides of the identities in a row's account, which the documentation of the
/// [module](crate::ledger) states.
///
/// NOTE: the end of a response is booked in two steps. In a snapshot that is taken between the steps, the field
/// `between` differs by that response's amount. While no call is running, the account must be balanced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Balance {
    /// `paid − used − wasted − open`, which is zero in every row.
    pub attempts: Usd,
    /// `list + unlisted − useful − saved`, which is zero in every row.
    pub responses: Usd,
    /// `used − useful`, which is zero in the total. In the row of a label or a model it is the cost of the row's
    /// attempts that responses of other rows used, minus the cost of other rows' attempts that its responses used.
    pub between: Usd,
}

impl Balance {
    /// Returns `true` if all differences are zero.
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
