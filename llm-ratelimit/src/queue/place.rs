//! Places in wait queues.

use crate::account_ref::AccountRef;

/// Place of a call in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) account_ref: AccountRef,
    pub(super) class: usize,
    pub(super) start: u64,
    pub(super) number: u64,
    pub(super) share: u64,
}

impl Place {
    pub(super) fn key(&self) -> (u64, u64) {
        (self.start, self.number)
    }
}
