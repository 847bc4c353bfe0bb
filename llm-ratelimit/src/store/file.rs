use std::{
    fmt,
    path::{Path, PathBuf},
};

use redb::{Database, DatabaseError, ReadableTable, TableDefinition};

use super::{
    StoreError,
    backend::{Backend, Changes, Name},
};
use crate::Balance;

/// Balances in one file. A process that is killed leaves it as it was after the last write that returned.
pub(super) struct File {
    database: Database,
    path: PathBuf,
}

/// Tenant and counter, and a balance as JSON: fields that a later version adds are passed over.
const BALANCES: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("balances");
const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");

/// Any of a database's many errors.
type Failure = Box<dyn std::error::Error + Send + Sync>;

const FORMAT: &str = "format";
const KNOWN: u64 = 1;

impl File {
    /// Opens a file, or creates it.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let database = Database::create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.into()),
            error => StoreError::Open { path: path.into(), message: error.to_string() },
        })?;
        let file = Self { database, path: path.into() };
        let found = file.format().map_err(|error| file.unreadable(&error))?;
        match found {
            KNOWN => Ok(file),
            found => Err(StoreError::Newer { path: path.into(), found, known: KNOWN }),
        }
    }

    /// The file's format; a new file gets the one that is known, and its tables.
    fn format(&self) -> Result<u64, Failure> {
        let writing = self.database.begin_write()?;
        let found = {
            let mut facts = writing.open_table(FACTS)?;
            let found = facts.get(FORMAT)?.map(|format| format.value());
            if found.is_none() {
                facts.insert(FORMAT, KNOWN)?;
                writing.open_table(BALANCES)?;
            }
            found
        };
        match found {
            Some(found) => writing.abort().map(|()| found)?,
            None => writing.commit().map(|()| KNOWN)?,
        };
        Ok(found.unwrap_or(KNOWN))
    }

    fn unreadable(&self, error: &Failure) -> StoreError {
        StoreError::Open { path: self.path.clone(), message: error.to_string() }
    }

    fn find(&self, tenant: Option<&str>, each: &mut dyn FnMut(&[u8])) -> Result<(), Failure> {
        let reading = self.database.begin_read()?;
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

    fn change(&self, rows: &[(&Name, Option<Vec<u8>>)]) -> Result<(), Failure> {
        let writing = self.database.begin_write()?;
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
}

impl Backend for File {
    fn read(&self, tenant: Option<&str>, each: &mut dyn FnMut(Balance)) -> Result<(), StoreError> {
        let mut broken = None;
        self.find(tenant, &mut |bytes| match serde_json::from_slice(bytes) {
            Ok(balance) => each(balance),
            Err(error) => broken = Some(StoreError::Read(error.to_string())),
        })
        .map_err(|error| StoreError::Read(error.to_string()))?;
        broken.map_or(Ok(()), Err)
    }

    fn write(&self, changes: &Changes) -> Result<(), StoreError> {
        let bytes = |balance| serde_json::to_vec(balance).expect("texts and numbers can be written as JSON");
        let rows: Vec<_> = changes.iter().map(|(name, balance)| (name, balance.map(bytes))).collect();
        self.change(&rows).map_err(|error| StoreError::Write(error.to_string()))
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("path", &self.path).finish_non_exhaustive()
    }
}
