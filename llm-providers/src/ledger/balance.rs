use llm_core::Usd;

use super::Row;

/// By how much a row's books are off; the [module's docs](crate::ledger) state the identities.
///
/// NOTE: an answer that ends is booked in two steps, so a snapshot taken at that very moment can find `between` off by
/// that answer's amount. When no call is running, the books must be even.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Balance {
    /// `paid − used − wasted − open`: zero in every row.
    pub attempts: Usd,
    /// `list − useful − saved`: zero in every row.
    pub responses: Usd,
    /// `used − useful`: zero in the total. In the row of a label or a model: what its purchases gave to answers of
    /// other rows, less what its answers got from them.
    pub between: Usd,
}

impl Balance {
    /// Whether nothing is off.
    pub fn is_balanced(&self) -> bool {
        *self == Self::default()
    }
}

impl Row {
    /// By how much the books of this row are off.
    pub fn balance(&self) -> Balance {
        Balance {
            attempts: self.paid - self.used - self.wasted.total() - self.open,
            responses: self.list - self.useful - self.saved.total(),
            between: self.used - self.useful,
        }
    }
}
