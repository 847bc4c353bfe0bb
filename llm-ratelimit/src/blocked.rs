//! The obstacle of a call that is refused.

use crate::{account_ref::AccountRef, counter::Wait};

/// Reason why a call cannot have what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) wait: Wait,
    /// The account that has no room; `None` if there is no such account yet.
    pub(crate) account_ref: Option<AccountRef>,
    /// Which of the plan's groups.
    pub(crate) group: u16,
    /// Which of the group's rules; `None` if others wait for that account.
    pub(crate) rule: Option<u16>,
}
