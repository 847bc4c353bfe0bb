use serde::{Deserialize, Serialize};

use crate::window::Window;

/// What one calendar window holds for one tenant, model, label, …: what must outlive the process. Opaque; it can be
/// written with serde and given to [`Limiter::restore`](crate::Limiter::restore).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    pub(crate) group: String,
    pub(crate) values: Vec<String>,
    #[serde(default)]
    pub(crate) overflow: bool,
    pub(crate) counter: String,
    pub(crate) window: Window,
}

impl Balance {
    /// What it is counted apart by, and confined to, as limits write it: `per tenant`.
    pub fn group(&self) -> &str {
        self.group.trim_end()
    }

    /// The tenant, model, label, … in the order in which [`group`](Self::group) names them.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(String::as_str)
    }

    /// What is counted, and over what window.
    pub fn counter(&self) -> &str {
        &self.counter
    }

    /// The end of the window, in nanoseconds since 1970.
    pub fn until(&self) -> u64 {
        self.window.until
    }

    /// What was spent in it, in tokens, nano-dollars, calls or units.
    pub fn spent(&self) -> u64 {
        self.window.spent
    }

    /// What is reserved by calls that run.
    pub fn reserved(&self) -> u64 {
        self.window.reserved
    }

    /// What earlier windows left to pay, and what this one will.
    pub fn debt(&self) -> u64 {
        self.window.carried.saturating_add(self.window.debt)
    }
}
