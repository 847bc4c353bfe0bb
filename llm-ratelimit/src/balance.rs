//! Contents of a calendar window outside of its account, in a form that outlives the process.

use serde::{Deserialize, Serialize};

use crate::{Dimension, scope::Scope, window::Window};

/// Contents of one calendar window for one tenant, model, label, …, which must outlive the process. Opaque; it can be
/// written with serde and given to [`Limiter::restore`](crate::Limiter::restore).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    pub(crate) scope: Scope,
    pub(crate) values: Vec<String>,
    #[serde(default)]
    pub(crate) catch_all: bool,
    pub(crate) counter: String,
    pub(crate) window: Window,
}

impl Balance {
    /// Returns the dimensions by which calls are counted apart.
    pub fn dimensions(&self) -> &[Dimension] {
        self.scope.dimensions()
    }

    /// Returns the filters that calls must pass to be counted: a value of each of these dimensions.
    pub fn filters(&self) -> impl Iterator<Item = (&Dimension, &str)> {
        self.scope.filters().iter().map(|(dimension, value)| (dimension, &**value))
    }

    /// Returns the tenant, model, label, … in the order of [`dimensions`](Self::dimensions).
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(String::as_str)
    }

    /// Returns the tenant to whom the balance belongs, if calls are counted apart by tenant.
    pub fn tenant(&self) -> Option<&str> {
        self.scope.value_of(&Dimension::Tenant, self.values()).filter(|_| !self.catch_all)
    }

    /// Returns true if this is the shared balance of all calls that found no account of their own.
    pub fn is_catch_all(&self) -> bool {
        self.catch_all
    }

    /// Returns the unit that is counted, and the window.
    pub fn counter(&self) -> &str {
        &self.counter
    }

    /// Returns the end of the window, in nanoseconds since 1970.
    pub fn until(&self) -> u64 {
        self.window.until
    }

    /// Returns the last limit that applied, in tokens, nano-dollars, calls or units.
    pub fn limit(&self) -> u64 {
        self.window.limit
    }

    /// Returns the amount that counts against the limit: spent, reserved, and owed from earlier windows.
    pub fn used(&self) -> u64 {
        self.window.total()
    }

    /// Returns the amount left in the window.
    pub fn left(&self) -> u64 {
        self.limit().saturating_sub(self.used())
    }

    /// Returns the amount spent in the window, in tokens, nano-dollars, calls or units.
    pub fn spent(&self) -> u64 {
        self.window.spent
    }

    /// Returns the balance with another amount spent in its window, in tokens, nano-dollars, calls or units, for
    /// [`Limiter::reconcile`](crate::Limiter::reconcile).
    #[must_use]
    pub fn with_spent(mut self, spent: u64) -> Self {
        self.window.spent = spent;
        self
    }

    /// Returns the amount that running calls have reserved.
    pub fn reserved(&self) -> u64 {
        self.window.reserved
    }

    /// Returns the debt that earlier windows left, and that this one will leave.
    pub fn debt(&self) -> u64 {
        self.window.owed()
    }
}
