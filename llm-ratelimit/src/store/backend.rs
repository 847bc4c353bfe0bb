//! Trait of stores of balances.

use std::{collections::HashMap, fmt::Debug};

use super::StoreError;
use crate::Balance;

/// Store of balances by name. All methods may block until the disk has answered.
pub(crate) trait Backend: Debug + Send + Sync {
    /// Passes all balances, or those of one tenant, to `each`, in the order of their names.
    fn read(&self, tenant: Option<&str>, each: &mut dyn FnMut(Balance)) -> Result<(), StoreError>;

    /// Applies all changes or none. They are durable when the method returns.
    fn write(&self, changes: &Changes) -> Result<(), StoreError>;
}

/// Changes of balances: for each name the new balance, or `None` to remove it.
#[derive(Debug, Default)]
pub(crate) struct Changes(HashMap<Name, Option<Balance>>);

/// Name of a balance: its tenant (empty if it belongs to none) and its counter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(super) tenant: String,
    /// JSON list of the counter's properties, so that different counters have different names.
    pub(super) counter: String,
}

impl Changes {
    /// Replaces the balances of the same names. A balance that holds nothing may be removed.
    pub(crate) fn put(&mut self, balances: impl IntoIterator<Item = Balance>) {
        let holds = |balance: &Balance| balance.used() > 0 || balance.debt() > 0;
        self.0.extend(balances.into_iter().map(|balance| (Name::of(&balance), Some(balance).filter(holds))));
    }

    /// Adds the removal of balances to the changes.
    pub(crate) fn remove(&mut self, balances: impl IntoIterator<Item = Balance>) {
        self.0.extend(balances.into_iter().map(|balance| (Name::of(&balance), None)));
    }

    /// Turns all changes of a tenant's balances into removals. Balances of the tenant that are not among the changes
    /// are not affected.
    pub(crate) fn forget(&mut self, tenant: &str) {
        for (_, balance) in self.0.iter_mut().filter(|(name, _)| name.tenant == tenant) {
            *balance = None;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Name, Option<&Balance>)> {
        self.0.iter().map(|(name, balance)| (name, balance.as_ref()))
    }
}

impl Name {
    pub(super) fn of(balance: &Balance) -> Self {
        let Balance { scope, values, catch_all, counter, window: _ } = balance;
        let name = (scope, values, catch_all, counter);
        Self {
            tenant: balance.tenant().unwrap_or_default().to_owned(),
            counter: serde_json::to_string(&name).expect("texts can be written as JSON"),
        }
    }
}
