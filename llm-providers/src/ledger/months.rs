use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::Arc,
};

use super::{
    Month, Row, Snapshot,
    accounts::{Accounts, Choice},
    csv,
    keys::Keys,
};

/// Accounts of each month, as a [`LedgerFile`](super::LedgerFile) holds them.
///
/// ```
/// use llm_providers::ledger::Months;
///
/// let months = Months::default();
/// assert!(months.of_label("job", "nightly").paid.is_zero());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Months(pub(super) BTreeMap<Month, Arc<Accounts>>);

/// Accounts of each month, in which a running ledger books calls.
#[derive(Debug)]
pub(super) struct MonthTable {
    pub(super) choice: Choice,
    pub(super) months: Months,
    /// True if a row has changed since the field was last set to `false`.
    pub(super) is_changed: bool,
}

impl MonthTable {
    /// Books a call in the month in which it began. A new month has the bounds of `all`.
    pub(super) fn each(&mut self, keys: &Keys, all: &Accounts, book: &mut impl FnMut(&mut Row)) {
        let Some(began) = keys.began else { return };
        let accounts = self.months.0.entry(Month::of(began)).or_insert_with(|| Arc::new(all.blank()));
        Arc::make_mut(accounts).each(keys, Some(&self.choice), book);
        self.is_changed = true;
    }
}

impl Months {
    /// Returns the months in order, each with its accounts.
    pub fn iter(&self) -> impl Iterator<Item = (Month, Snapshot)> + '_ {
        self.0.iter().map(|(month, accounts)| (*month, snapshot(accounts)))
    }

    /// Returns the accounts of a month; `None` if no call began in it.
    pub fn get(&self, month: Month) -> Option<Snapshot> {
        self.0.get(&month).map(|accounts| snapshot(accounts))
    }

    /// Returns the account of a label, such as that of one job, over all months.
    pub fn of_label(&self, name: &str, value: &str) -> Row {
        let mut sum = Row::default();
        let rows = self.iter().filter_map(|(_, snapshot)| snapshot.label(name, value).cloned());
        rows.for_each(|row| sum.merge(&row));
        sum
    }

    /// Writes the accounts as comma-separated values, as [`Snapshot::write_csv`] does, with the column `month` before the
    /// others.
    ///
    /// # Errors
    ///
    /// The errors of `out`.
    pub fn write_csv(&self, mut out: impl Write) -> io::Result<()> {
        csv::header(&mut out, Some("month"))?;
        self.iter().try_for_each(|(month, snapshot)| snapshot.write_lines(&mut out, Some(&month.to_string())))
    }
}

fn snapshot(accounts: &Accounts) -> Snapshot {
    Snapshot::new("", accounts.clone(), Default::default())
}
