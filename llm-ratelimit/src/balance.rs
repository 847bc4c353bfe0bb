//! Contents of a calendar window outside of its account, in a form that can be stored.

use serde::{Deserialize, Serialize};

use crate::{Dimension, scope::Scope, window::Window};

/// Contents of one calendar window of one account, to be kept across restarts. The type is opaque. It can be serialized
/// with serde and passed to [`Limiter::restore`](crate::Limiter::restore).
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
    /// Returns the dimensions whose values the limit counts separately.
    pub fn dimensions(&self) -> &[Dimension] {
        self.scope.dimensions()
    }

    /// Returns the filters of the limit, which counts only calls with these values of these dimensions.
    pub fn filters(&self) -> impl Iterator<Item = (&Dimension, &str)> {
        self.scope.filters().iter().map(|(dimension, value)| (dimension, &**value))
    }

    /// Returns the values of the account (tenant, model, label, …), in the order of [`dimensions`](Self::dimensions).
    /// For a [catch-all account](Self::is_catch_all), returns its number.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(String::as_str)
    }

    /// Returns the tenant that the balance belongs to; `None` if the limit does not count tenants separately.
    pub fn tenant(&self) -> Option<&str> {
        self.scope.value_of(&Dimension::Tenant, self.values()).filter(|_| !self.catch_all)
    }

    /// Returns `true` if this balance is shared by all calls for which there was no room for an account of their own.
    pub fn is_catch_all(&self) -> bool {
        self.catch_all
    }

    /// Returns the unit and the window of the limit, as text.
    pub fn counter(&self) -> &str {
        &self.counter
    }

    /// Returns the end of the window, in nanoseconds since 1970.
    pub fn until(&self) -> u64 {
        self.window.until
    }

    /// Returns the limit that applied last, in tokens, nano-dollars, calls or units.
    pub fn limit(&self) -> u64 {
        self.window.limit
    }

    /// Returns the amount that counts against the limit: the sum of spent and reserved amounts, and of the debt of
    /// earlier windows.
    pub fn used(&self) -> u64 {
        self.window.total()
    }

    /// Returns the amount left in the window, in tokens, nano-dollars, calls or units; 0 if the limit is exceeded.
    pub fn left(&self) -> u64 {
        self.limit().saturating_sub(self.used())
    }

    /// Returns the amount spent in the window, in tokens, nano-dollars, calls or units.
    pub fn spent(&self) -> u64 {
        self.window.spent
    }

    /// Sets the amount spent in the balance's window, in tokens, nano-dollars, calls or units. Use it for
    /// [`Limiter::reconcile`](crate::Limiter::reconcile).
    #[must_use]
    pub fn with_spent(mut self, spent: u64) -> Self {
        self.window.spent = spent;
        self
    }

    /// Returns the amount that running calls have reserved in the window.
    pub fn reserved(&self) -> u64 {
        self.window.reserved
    }

    /// Returns the debt that later windows must pay, which is the debt of earlier windows and the excess of this
    /// window.
    pub fn debt(&self) -> u64 {
        self.window.owed()
    }
}
