//! Balances in one file of the embedded database redb.
//!
//! Only one process can open the file at a time. A write is a transaction, so that a killed process leaves the state
//! after the last write that returned. A file that is damaged, or is not a file of balances, is refused with an error
//! that names the remedy, and stays unchanged.

use std::{
    fmt,
    fs::OpenOptions,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use redb::{Builder, Database, DatabaseError, StorageError, TableDefinition, TableHandle};

use super::{
    StoreError,
    backend::{Backend, Changes, Name},
};
use crate::Balance;

/// Balances in one file. If the process is killed, the file has the state after the last write that returned.
pub(super) struct File {
    /// Database; `None` once the file is closed.
    database: Option<Database>,
    path: PathBuf,
}

/// Table of balances by tenant and counter. A balance is JSON; fields that a later version adds are ignored.
const BALANCES: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("balances");
const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");

/// Error of the database, whose type depends on the operation.
type Failure = Box<dyn std::error::Error + Send + Sync>;

const FORMAT: &str = "format";
const KNOWN: u64 = 1;
/// Tables of a cache's file, by which such a file is recognised.
const CACHE_TABLES: [&str; 2] = ["entries", "dropped"];
const DAMAGED: &str = "it is damaged";
/// Remedy for a file with wrong contents.
const REMEDY: &str = "restore it from a backup, move it away to begin with empty windows, or use another path";

impl File {
    /// Opens a file, or creates one that only its owner can read.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |message: String| StoreError::Open { path: path.into(), message };
        let wrong = |what: &dyn fmt::Display| failed(format!("{what}: {REMEDY}"));
        let file = open_file(path).map_err(|error| failed(error.to_string()))?;
        // redb panics on some kinds of damage.
        let opened = catch_unwind(|| Builder::new().create_file(file)).map_err(|_| wrong(&DAMAGED))?;
        let database = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.into()),
            DatabaseError::Storage(StorageError::Io(error)) if !is_of_contents(&error) => failed(error.to_string()),
            error => wrong(&format_args!("it holds no balances, or is damaged ({error})")),
        })?;
        let file = Self { database: Some(database), path: path.into() };
        match file.with(format).map_err(|error| wrong(&error))? {
            KNOWN => Ok(file),
            found => Err(StoreError::Newer { path: path.into(), found, known: KNOWN }),
        }
    }

    /// Runs an operation on the database. A panic becomes an error, because redb panics on some kinds of damage.
    fn with<R>(&self, work: impl FnOnce(&Database) -> Result<R, Failure>) -> Result<R, Failure> {
        let database = self.database.as_ref().ok_or("it is closed")?;
        catch_unwind(AssertUnwindSafe(|| work(database))).unwrap_or_else(|_| Err(DAMAGED.into()))
    }

    /// Converts an error of the open database to its text with the path.
    fn failed(&self, error: &dyn fmt::Display) -> String {
        format!("{}: {error}; if the file is damaged, {REMEDY}", self.path.display())
    }
}

/// Returns `true` if the error is about the contents of the file, and not about reading it.
fn is_of_contents(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn open_file(path: &Path) -> io::Result<std::fs::File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Returns the number of the file's format. A new file gets the current format and its tables.
fn format(database: &Database) -> Result<u64, Failure> {
    let reading = database.begin_read()?;
    let tables: Vec<String> = reading.list_tables()?.map(|table| table.name().to_owned()).collect();
    if tables.is_empty() {
        let writing = database.begin_write()?;
        writing.open_table(FACTS)?.insert(FORMAT, KNOWN)?;
        writing.open_table(BALANCES)?;
        writing.commit()?;
        return Ok(KNOWN);
    }
    if !tables.iter().any(|table| table == FACTS.name()) {
        return Err(foreign(&tables).into());
    }
    let format = reading.open_table(FACTS)?.get(FORMAT)?.map(|format| format.value());
    format.ok_or_else(|| foreign(&tables).into())
}

/// Returns a description of a database of another program, by its tables.
fn foreign(tables: &[String]) -> String {
    if CACHE_TABLES.iter().all(|own| tables.iter().any(|table| table == own)) {
        return "it is a cache of llm-cache and holds no balances".to_owned();
    }
    format!("it is the database of another program, with the tables {}", tables.join(", "))
}

fn find(database: &Database, tenant: Option<&str>, each: &mut dyn FnMut(&[u8])) -> Result<(), Failure> {
    let reading = database.begin_read()?;
    let balances = reading.open_table(BALANCES)?;
    for row in balances.range((tenant.unwrap_or_default(), "")..)? {
        let (name, balance) = row?;
        if tenant.is_some_and(|tenant| name.value().0 != tenant) {
            break;
        }
        each(balance.value());
    }
    Ok(())
}

fn change(database: &Database, rows: &[(&Name, Option<Vec<u8>>)]) -> Result<(), Failure> {
    let writing = database.begin_write()?;
    {
        let mut balances = writing.open_table(BALANCES)?;
        for (name, balance) in rows {
            let name = (name.tenant.as_str(), name.counter.as_str());
            match balance {
                Some(bytes) => drop(balances.insert(name, bytes.as_slice())?),
                None => drop(balances.remove(name)?),
            }
        }
    }
    Ok(writing.commit()?)
}

impl Backend for File {
    fn read(&self, tenant: Option<&str>, each: &mut dyn FnMut(Balance)) -> Result<(), StoreError> {
        let mut broken = None;
        let mut decode = |bytes: &[u8]| match serde_json::from_slice(bytes) {
            Ok(balance) => each(balance),
            Err(error) => broken = Some(StoreError::Read(self.failed(&error))),
        };
        self.with(|database| find(database, tenant, &mut decode))
            .map_err(|error| StoreError::Read(self.failed(&error)))?;
        broken.map_or(Ok(()), Err)
    }

    fn write(&self, changes: &Changes) -> Result<(), StoreError> {
        let bytes = |balance| serde_json::to_vec(balance).expect("texts and numbers can be written as JSON");
        let rows: Vec<_> = changes.iter().map(|(name, balance)| (name, balance.map(bytes))).collect();
        self.with(|database| change(database, &rows)).map_err(|error| StoreError::Write(self.failed(&error)))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // redb panics on some kinds of damage. Completed writes are on the disk already.
        let database = self.database.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("path", &self.path).finish_non_exhaustive()
    }
}
