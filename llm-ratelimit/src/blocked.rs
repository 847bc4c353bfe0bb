//! Limit that blocks a call.

use crate::{account_ref::AccountRef, counter::Wait};

/// Limit that has no room for a call, with its account and the waiting time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) wait: Wait,
    /// Account that has no room; `None` if the account does not exist yet.
    pub(crate) account_ref: Option<AccountRef>,
    /// Index of the group in the plan.
    pub(crate) group: u16,
    /// Index of the rule in the group; `None` if the account has room, but other calls wait for it.
    pub(crate) rule: Option<u16>,
}
