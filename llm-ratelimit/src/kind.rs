//! Units that counters count.

use crate::{Quota, Unit, quota::Span};

/// Unit of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Requests,
    Input,
    Output,
    Tokens,
    Money,
    Units,
    Slots,
}

impl Kind {
    /// Returns the name of the unit for metrics. All units that applications declare have the same name there, because
    /// there may be many.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Input => "input tokens",
            Self::Output => "output tokens",
            Self::Tokens => "tokens",
            Self::Money => "money",
            Self::Units => "units",
            Self::Slots => "calls at one time",
        }
    }

    /// Returns the unit that a quota counts.
    pub(crate) fn of(quota: &Quota) -> Self {
        if let Span::Concurrent = quota.span() {
            return Self::Slots;
        }
        match quota.unit() {
            Unit::Requests => Self::Requests,
            Unit::Input => Self::Input,
            Unit::Output => Self::Output,
            Unit::Tokens => Self::Tokens,
            Unit::Money => Self::Money,
            Unit::Units(_) => Self::Units,
        }
    }
}
