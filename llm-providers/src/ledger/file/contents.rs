//! Format of the file: JSON, with one row for each account.

use std::{
    fmt,
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::LedgerFileError;
use crate::ledger::{
    Month, Months, Row,
    accounts::{Accounts, Rows, SEPARATOR},
};

const FORMAT: &str = "llm-providers ledger";
const VERSION: u64 = 1;

/// First fields of a file, which every version has.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    format: String,
    version: u64,
    rows: Vec<Record>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    month: Month,
    kind: Kind,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    name: Arc<str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    value: Arc<str>,
    account: Row,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Total,
    Tenant,
    Model,
    Label,
    OtherTenants,
    OtherModels,
    OtherLabels,
}

impl Months {
    /// Reads a file, for reports without a ledger.
    ///
    /// # Errors
    ///
    /// [`LedgerFileError::Open`] if the file cannot be read or does not exist; [`LedgerFileError::Newer`] if a later
    /// version of this crate wrote it.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, LedgerFileError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path)
            .map_err(|error| LedgerFileError::Open { path: path.into(), message: error.to_string() })?;
        parse(path, &bytes)
    }

    /// Writes the accounts as JSON, in the format of the file: an object with a list `rows` of objects with `month`,
    /// `kind`, `name`, `value` (of a label) and `account`, whose amounts are whole nano-dollars.
    ///
    /// # Errors
    ///
    /// The errors of `out`.
    pub fn write_json(&self, mut out: impl Write) -> io::Result<()> {
        out.write_all(&write(self))
    }
}

/// Writes one row in each line, so that versions of a file can be compared line by line.
pub(super) fn write(months: &Months) -> Vec<u8> {
    let rows: Vec<Record> = months.0.iter().flat_map(|(month, accounts)| records(*month, accounts)).collect();
    let rows: Vec<String> = rows.iter().map(|row| serde_json::to_string(row).expect(WRITABLE)).collect();
    let head = format!("{{\"format\":\"{FORMAT}\",\"version\":{VERSION},\"rows\":[");
    let end = if rows.is_empty() { "]}\n" } else { "\n]}\n" };
    let separator = if rows.is_empty() { "" } else { "\n" };
    [&head, separator, &rows.join(",\n"), end].concat().into_bytes()
}

const WRITABLE: &str = "texts and numbers can be written as JSON";

fn records(month: Month, accounts: &Accounts) -> Vec<Record> {
    let record =
        |kind, name: Arc<str>, value: Arc<str>, row: &Row| Record { month, kind, name, value, account: row.clone() };
    let mut records = vec![record(Kind::Total, "".into(), "".into(), &accounts.total)];
    let kinds = [
        (Kind::Tenant, Kind::OtherTenants, &accounts.tenants),
        (Kind::Model, Kind::OtherModels, &accounts.models),
        (Kind::Label, Kind::OtherLabels, &accounts.labels),
    ];
    for (kind, other, rows) in kinds {
        let mut names: Vec<(&Arc<str>, &Row)> = rows.known.iter().collect();
        names.sort_unstable_by_key(|(name, _)| *name);
        for (name, row) in names {
            let (name, value) = name.split_once(SEPARATOR).unwrap_or((name, ""));
            records.push(record(kind, name.into(), value.into(), row));
        }
        records.extend(rows.other.as_ref().map(|row| record(other, "".into(), "".into(), row)));
    }
    records
}

/// Reads the contents of the file at `path`.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Months, LedgerFileError> {
    let wrong = |cause: &dyn fmt::Display| LedgerFileError::Open {
        path: path.into(),
        message: format!(
            "it holds no totals of a ledger, or is damaged ({cause}): restore it from a backup, move it away to begin \
             without totals, or use another path"
        ),
    };
    let head: Head = serde_json::from_slice(bytes).map_err(|error| wrong(&error))?;
    if head.format != FORMAT {
        return Err(wrong(&format_args!("its format is {:?}", head.format)));
    }
    if head.version > VERSION {
        return Err(LedgerFileError::Newer { path: path.into(), found: head.version, known: VERSION });
    }
    let contents: Contents = serde_json::from_slice(bytes).map_err(|error| wrong(&error))?;
    let mut months = Months::default();
    for record in contents.rows {
        let (month, name) = (record.month, record.name.clone());
        let accounts = months.0.entry(month).or_insert_with(|| Arc::new(Accounts::new()));
        if !add(Arc::make_mut(accounts), record) {
            return Err(wrong(&format_args!("two rows of {month} are of the same name {name:?}")));
        }
    }
    Ok(months)
}

/// Adds a row. Returns `false` if it exists already.
fn add(accounts: &mut Accounts, Record { kind, name, value, account, .. }: Record) -> bool {
    let named = |rows: &mut Rows, name: Arc<str>, row| rows.known.insert(name, row).is_none();
    match kind {
        Kind::Total => std::mem::replace(&mut accounts.total, account) == Row::default(),
        Kind::Tenant => named(&mut accounts.tenants, name, account),
        Kind::Model => named(&mut accounts.models, name, account),
        Kind::Label => named(&mut accounts.labels, [&*name, SEPARATOR, &*value].concat().into(), account),
        Kind::OtherTenants => accounts.tenants.other.replace(account).is_none(),
        Kind::OtherModels => accounts.models.other.replace(account).is_none(),
        Kind::OtherLabels => accounts.labels.other.replace(account).is_none(),
    }
}
