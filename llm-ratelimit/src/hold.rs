//! Shares of limits that a call holds.

use smallvec::SmallVec;

use crate::{Settlement, account_ref::AccountRef, bucket::Mark, kind::Kind};

/// A call's share of one counter.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) account_ref: AccountRef,
    pub(crate) counter: u32,
    pub(crate) kind: Kind,
    pub(crate) amount: u64,
    pub(crate) mark: Mark,
}

pub(crate) type Holds = SmallVec<[Hold; 2]>;

impl Hold {
    /// Returns true if this changes the amount that counts.
    pub(crate) fn is_moved_by(&self, settlement: &Settlement) -> bool {
        settlement.amount(self.kind, self.amount) != self.amount
    }
}
