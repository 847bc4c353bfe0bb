use std::{
    borrow::Cow,
    io::{self, Write},
};

use llm_core::{Cause, Usd};

use super::{Row, Snapshot, Waste};

const COLUMNS: [&str; 13] = [
    "calls",
    "completed",
    "vendor",
    "hits",
    "coalesced",
    "failed",
    "dropped",
    "units",
    "unpriced_responses",
    "unlisted_responses",
    "attempts",
    "unpriced_attempts",
    "unconfirmed",
];

impl Snapshot {
    /// Writes the accounts as comma-separated values (RFC 4180): a line of names, then one line for each tenant, model
    /// and label, and the total. Amounts are whole nano-dollars, in columns whose names end with the unit; the other
    /// columns count calls, attempts, units and tokens. Later versions may add columns, so read them by name.
    ///
    /// Names are written unchanged. A spreadsheet reads a name that begins with `=`, `+`, `-` or `@` as a formula, so
    /// import such columns as text.
    ///
    /// ```
    /// use llm_providers::{Ledger, prices};
    ///
    /// let mut csv = Vec::new();
    /// Ledger::new(prices::openai()).snapshot().write_csv(&mut csv)?;
    /// assert!(csv.starts_with(b"kind,name,value,calls,"));
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of `out`.
    pub fn write_csv(&self, mut out: impl Write) -> io::Result<()> {
        header(&mut out, None)?;
        self.write_lines(&mut out, None)
    }

    /// Writes one line for each row. `first` is an additional first column.
    pub(super) fn write_lines(&self, out: &mut impl Write, first: Option<&str>) -> io::Result<()> {
        for (name, row) in self.tenants() {
            cells(out, first, ["tenant", name, ""], row)?;
        }
        for (name, row) in self.models() {
            cells(out, first, ["model", name, ""], row)?;
        }
        for (name, value, row) in self.labels() {
            cells(out, first, ["label", name, value], row)?;
        }
        cells(out, first, ["total", "", ""], self.total())
    }
}

/// Writes the line with the names of the columns. `first` is an additional first column.
pub(super) fn header(out: &mut impl Write, first: Option<&str>) -> io::Result<()> {
    let row = Row::default();
    let amounts = amounts(&row).into_iter().map(|(name, _)| name + "_nano_usd");
    let tokens = tokens(&row).into_iter().map(|(name, _)| name.to_owned());
    let counts = COLUMNS.iter().map(|name| (*name).to_owned());
    line(out, first, ["kind", "name", "value"], counts.chain(tokens).chain(amounts))
}

fn cells(out: &mut impl Write, first: Option<&str>, key: [&str; 3], row: &Row) -> io::Result<()> {
    let counts = counts(row).map(|count| count.to_string());
    let tokens = tokens(row).into_iter().map(|(_, count)| count.to_string());
    let amounts = amounts(row).into_iter().map(|(_, amount)| amount.nanos().to_string());
    line(out, first, key, counts.into_iter().chain(tokens).chain(amounts))
}

fn counts(row: &Row) -> [u64; COLUMNS.len()] {
    [
        row.calls,
        row.completed,
        row.vendor,
        row.hits,
        row.coalesced,
        row.failed,
        row.dropped,
        row.units,
        row.unpriced_responses,
        row.unlisted_responses,
        row.attempts,
        row.unpriced_attempts,
        row.unconfirmed.count,
    ]
}

fn tokens(row: &Row) -> [(&'static str, u64); 4] {
    [
        ("input_tokens", row.usage.input),
        ("output_tokens", row.usage.output),
        ("paid_input_tokens", row.usage_paid.input),
        ("paid_output_tokens", row.usage_paid.output),
    ]
}

fn amounts(row: &Row) -> Vec<(String, Usd)> {
    let named = |name: &str, amount| (name.to_owned(), amount);
    let mut amounts = vec![named("list", row.list), named("unlisted", row.unlisted), named("useful", row.useful)];
    amounts.extend(Cause::ALL.into_iter().map(|cause| (format!("saved_{}", cause.name()), row.saved.of(cause))));
    amounts.extend([named("paid", row.paid), named("used", row.used), named("open", row.open)]);
    let wastes = Waste::ALL.into_iter();
    amounts.extend(wastes.map(|cause| (format!("wasted_{}", cause.name()), row.wasted.of(cause))));
    amounts.push(named("unconfirmed", row.unconfirmed.amount));
    amounts
}

fn line(
    out: &mut impl Write,
    first: Option<&str>,
    key: [&str; 3],
    cells: impl Iterator<Item = String>,
) -> io::Result<()> {
    let key = first.into_iter().chain(key).map(quoted).collect::<Vec<_>>().join(",");
    let cells: String = cells.flat_map(|cell| [",".to_owned(), cell]).collect();
    write!(out, "{key}{cells}\r\n")
}

/// Quotes a name if its characters require it.
fn quoted(name: &str) -> Cow<'_, str> {
    match name.contains(['"', ',', '\r', '\n']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")).into(),
        false => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{accounts::Accounts, unknown_costs::UnknownCosts};

    fn snapshot() -> Snapshot {
        let mut row = Row { calls: 3, units: 7, paid: Usd::from_nanos(1_234_567), ..Row::default() };
        row.saved.add(Cause::ALL[0], Usd::from_nanos(5));
        row.usage.input = u64::MAX;
        let mut accounts = Accounts::new();
        accounts.tenants.known.insert("acme, \"north\"".into(), row.clone());
        accounts.total = row;
        Snapshot::new("2026-11-01", accounts, UnknownCosts::default())
    }

    #[test]
    fn write_csv_lines_have_equal_columns() {
        let mut text = Vec::new();
        snapshot().write_csv(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.strip_suffix("\r\n").unwrap().split("\r\n").collect();
        assert_eq!(lines.len(), 3);
        let names: Vec<&str> = lines[0].split(',').collect();
        let total: Vec<&str> = lines[2].split(',').collect();
        assert_eq!(names.len(), total.len());
        let cell = |name: &str| total[names.iter().position(|known| *known == name).unwrap()];
        assert_eq!((cell("kind"), cell("calls"), cell("units")), ("total", "3", "7"));
        assert_eq!((cell("paid_nano_usd"), cell("input_tokens")), ("1234567", "18446744073709551615"));
        assert_eq!(cell(&format!("saved_{}_nano_usd", Cause::ALL[0].name())), "5");
        assert!(lines[1].starts_with("tenant,\"acme, \"\"north\"\"\",,3,"), "{}", lines[1]);
        assert_eq!(lines[1].strip_prefix("tenant,\"acme, \"\"north\"\"\","), lines[2].strip_prefix("total,,"));
    }

    #[test]
    fn write_csv_returns_errors_of_writer() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert_eq!(snapshot().write_csv(Full).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
