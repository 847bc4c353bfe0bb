//! Limit that blocks a call.

use crate::{account_ref::AccountRef, counter::Wait};

/// Limit that has no room for a call, with its account and the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) wait: Wait,
    /// The account that has no room; `None` if there is no such account yet.
    pub(crate) account_ref: Option<AccountRef>,
    /// Index of the group in the plan.
    pub(crate) group: u16,
    /// Index of the rule in the group; `None` if the account has room that other calls wait for.
    pub(crate) rule: Option<u16>,
}
