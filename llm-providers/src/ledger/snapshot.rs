use std::sync::Arc;

use llm_core::price::UnknownCost;

use super::{
    Balance, Row, StackFault,
    accounts::{Accounts, Rows, SEPARATOR},
    unknown_costs::UnknownCosts,
};

/// Copy of a ledger's accounts at one moment. Its `Display` is a table.
#[derive(Clone, Debug)]
pub struct Snapshot {
    prices_as_of: String,
    total: Row,
    tenants: Named,
    labels: Named,
    models: Named,
    pub(super) unknown: UnknownCosts,
    stack_faults: Vec<StackFault>,
}

/// Rows by name, sorted. The row of the names beyond the bound is the last.
type Named = Vec<(Arc<str>, Row)>;

impl Snapshot {
    /// Name of the row that all tenants, label values or models beyond a bound share. This row is the last one.
    pub const OTHER: &str = "(other)";

    pub(super) fn new(prices_as_of: &str, accounts: Accounts, unknown: UnknownCosts) -> Self {
        Self {
            prices_as_of: prices_as_of.to_owned(),
            total: accounts.total,
            tenants: named(accounts.tenants),
            labels: named(accounts.labels),
            models: named(accounts.models),
            unknown,
            stack_faults: Vec::new(),
        }
    }

    pub(super) fn with_faults(self, stack_faults: Vec<StackFault>) -> Self {
        Self { stack_faults, ..self }
    }

    /// Returns the faults of the stack that the ledger has noticed. Each of them is also logged.
    pub fn stack_faults(&self) -> impl Iterator<Item = StackFault> + '_ {
        self.stack_faults.iter().copied()
    }

    /// Returns the day of the prices by which usage is valued. It is empty for the accounts of a month, whose calls may
    /// have been valued by several tables.
    pub fn prices_as_of(&self) -> &str {
        &self.prices_as_of
    }

    /// Returns the account of all calls.
    pub fn total(&self) -> &Row {
        &self.total
    }

    /// Returns the differences in the account of all calls: see [`Row::balance`].
    pub fn balance(&self) -> Balance {
        self.total.balance()
    }

    /// Returns the causes of unknown costs, each with the number of attempts and of responses that have it. At most 100
    /// causes are counted separately.
    pub fn unknown_costs(&self) -> impl Iterator<Item = (&UnknownCost, u64, u64)> {
        self.unknown.causes.iter().map(|(cause, counts)| (cause, counts.attempts, counts.responses))
    }

    /// Returns the rows of the tenants, by name.
    pub fn tenants(&self) -> impl Iterator<Item = (&str, &Row)> {
        self.tenants.iter().map(|(name, row)| (&**name, row))
    }

    /// Returns the row of a tenant.
    pub fn tenant(&self, name: &str) -> Option<&Row> {
        self.tenants().find(|(known, _)| *known == name).map(|(_, row)| row)
    }

    /// Returns the rows of the labels: name, value, row. A call with several labels is in several rows.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str, &Row)> {
        self.labels.iter().map(|(label, row)| {
            let (name, value) = label.split_once(SEPARATOR).unwrap_or((label, ""));
            (name, value, row)
        })
    }

    /// Returns the row of a label.
    pub fn label(&self, name: &str, value: &str) -> Option<&Row> {
        self.labels().find(|(n, v, _)| (*n, *v) == (name, value)).map(|(.., row)| row)
    }

    /// Returns the name and the row of each requested model.
    pub fn models(&self) -> impl Iterator<Item = (&str, &Row)> {
        self.models.iter().map(|(name, row)| (&**name, row))
    }

    /// Returns the row of a requested model.
    pub fn model(&self, name: &str) -> Option<&Row> {
        self.models().find(|(known, _)| *known == name).map(|(_, row)| row)
    }
}

fn named(rows: Rows) -> Named {
    let mut named: Named = rows.known.into_iter().collect();
    named.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    named.extend(rows.other.map(|row| (Snapshot::OTHER.into(), row)));
    named
}
