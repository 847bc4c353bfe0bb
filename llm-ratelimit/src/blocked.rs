//! The limit that blocks a call.

use crate::{account_ref::AccountRef, counter::Wait};

/// Reason why a call cannot have what it asks for.
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
