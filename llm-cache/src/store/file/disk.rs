//! Tables of the file, and the changes that are committed together.
//!
//! | table | key | value |
//! |---|---|---|
//! | `entries` | name | number, end of use, start of the call (8 bytes each, little-endian), and the record |
//! | `order` | number of storing | name, so that the oldest entries are evicted first |
//! | `ends` | end of use and number | name, so that expired entries are found without a scan |
//! | `dropped` | hash of a tag | timestamp of its last invalidation |
//! | `books` | name of a total | entries, bytes, next number, last timestamp, floor, format |
//!
//! Times are nanoseconds since 1970. Each [`Disk::change`] is one durable transaction.

use std::{
    fs::{File, OpenOptions},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::atomic::AtomicBool,
};

use redb::{
    Builder, Database, DatabaseError, Durability, ReadableTable, Table, TableDefinition, TableError, TableHandle,
    WriteTransaction,
};

use super::foreign::foreign;
use crate::{
    StoreError,
    policy::Timestamp,
    store::{Name, PARTITION_BYTES},
};

/// Entries by name: number, end of use and start of the call of each, and its record.
const ENTRIES: TableDefinition<'_, NameBytes, &[u8]> = TableDefinition::new("entries");
/// Names in the order of storing.
const ORDER: TableDefinition<'_, u64, NameBytes> = TableDefinition::new("order");
/// Names by the end of use and the number of their entries.
const ENDS: TableDefinition<'_, (u64, u64), NameBytes> = TableDefinition::new("ends");
/// Timestamp of each tag's last invalidation, by the hash of the tag.
const INVALIDATED: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("dropped");
const TOTALS: TableDefinition<'_, &str, u64> = TableDefinition::new("books");

type NameBytes = &'static [u8; Name::BYTES];

const OPEN_ALREADY: &str = "is open already, in another process or another cache of this one: give each its own file, \
                            or, in one process, clone one cache or build the other with `share_store_with` it";

/// Version of the format of these tables.
const FORMAT: u64 = 1;
/// Bytes of an entry in addition to its record: its name in three tables, numbers, and the nodes of the tables.
const ROW_BYTES: u64 = 256;
/// Number of bytes before the record in a row: three integers of 8 bytes.
const PREFIX: usize = 24;
/// Largest total size of the records in a page of a listing, in bytes. A single record may be larger.
const LISTED: usize = 16 << 20;
/// Memory that redb may use for pages of the file, in bytes.
const PAGES: usize = 16 << 20;

/// Error of redb.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Fault(Box<redb::Error>);

impl Fault {
    /// Returns `true` if the error means that the contents of the file are damaged.
    pub(super) fn is_damage(&self) -> bool {
        use redb::Error::{
            Corrupted, TableDoesNotExist, TableIsMultimap, TableIsNotMultimap, TableTypeMismatch, TypeDefinitionChanged,
        };
        let error = &*self.0;
        matches!(error, Corrupted(_) | TableDoesNotExist(_) | TableIsMultimap(_) | TableIsNotMultimap(_))
            || matches!(error, TableTypeMismatch { .. } | TypeDefinitionChanged { .. })
    }

    /// Returns `true` if the error means that the disk failed. After such an error, redb refuses all further
    /// operations.
    pub(super) fn is_of_the_disk(&self) -> bool {
        matches!(*self.0, redb::Error::Io(_) | redb::Error::PreviousIo)
    }
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

/// Open database file.
pub(super) struct Disk {
    db: Database,
    /// True after the file has been found to be damaged.
    pub(super) is_damaged: AtomicBool,
}

/// Totals of a file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    /// Number of the next entry to be stored.
    next: u64,
    /// Latest timestamp in the file.
    pub(super) last: Timestamp,
    /// Timestamp of the latest invalidation of all entries. Entries whose calls began before it are invalid.
    pub(super) floor: Timestamp,
}

/// Invalidated tags with their timestamps.
pub(super) type InvalidatedTags = Vec<([u8; 32], Timestamp)>;

/// Names and records of a page, and the last name of the page if there are more entries after it.
pub(super) type Rows = (Vec<(Name, Vec<u8>)>, Option<Name>);

/// Entry to be written.
pub(super) struct Row {
    pub(super) name: Name,
    /// End of the entry's use, in nanoseconds since 1970.
    pub(super) ends: u64,
    pub(super) started_at: Timestamp,
    pub(super) record: Vec<u8>,
}

/// Changes that are committed together.
pub(super) struct Batch<'t> {
    entries: Table<'t, NameBytes, &'static [u8]>,
    order: Table<'t, u64, NameBytes>,
    ends: Table<'t, (u64, u64), NameBytes>,
    invalidated: Table<'t, &'static [u8; 32], u64>,
    pub(super) totals: Totals,
}

impl Disk {
    /// Opens a file, or creates one that only its owner can read.
    pub(super) fn open(path: &Path) -> Result<(Self, Totals, InvalidatedTags), StoreError> {
        let failed = |reason: String| StoreError::new("file", format!("{}: {reason}", path.display()));
        let file = open_file(path).map_err(|error| failed(format!("cannot be opened: {error}")))?;
        let none = |error: String| failed(format!("is no cache file, or a damaged one ({error}): move it away"));
        // redb panics on some kinds of damage.
        let opened = catch_unwind(|| {
            Builder::new().set_cache_size(PAGES).create_with_file_format_v3(true).create_file(file).map(Self::new)
        });
        let damaged = || failed("is damaged: move it away".to_owned());
        let disk = opened.map_err(|_| damaged())?.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => failed(OPEN_ALREADY.to_owned()),
            DatabaseError::Storage(redb::StorageError::Io(error)) if !is_of_contents(&error) => {
                failed(format!("cannot be opened: {error}"))
            }
            error => none(error.to_string()),
        })?;
        let tables = catch_unwind(AssertUnwindSafe(|| match disk.foreign()? {
            Some(foreign) => Ok(Err(foreign)),
            None => disk.begin().map(Ok),
        }));
        let tables = tables.map_err(|_| damaged())?.map_err(|error| none(error.to_string()))?;
        let (format, totals, invalidated_tags) =
            tables.map_err(|foreign| failed(format!("{foreign} and is no cache: use another file")))?;
        if format != FORMAT {
            return Err(failed(format!("has format {format}, and this version knows {FORMAT}: use another file")));
        }
        Ok((disk, totals, invalidated_tags))
    }

    fn new(db: Database) -> Self {
        Self { db, is_damaged: AtomicBool::new(false) }
    }

    /// Opens the storage backend of a test.
    #[cfg(test)]
    pub(super) fn over(backend: impl redb::StorageBackend) -> Self {
        Self::new(Builder::new().create_with_backend(backend).expect("a whole file"))
    }

    /// Returns the records under these names, in the order of the names.
    pub(super) fn read(&self, names: &[Name]) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        let entries = self.db.begin_read()?.open_table(ENTRIES)?;
        let record = |name: &Name| {
            let row = entries.get(name.as_bytes())?;
            Ok(row.and_then(|row| row.value().get(PREFIX..).map(<[u8]>::to_vec)))
        };
        names.iter().map(record).collect()
    }

    /// Returns the time at which the call of a stored entry started.
    pub(super) fn started_at(&self, name: &Name) -> Result<Option<Timestamp>, Fault> {
        let row = self.db.begin_read()?.open_table(ENTRIES)?.get(name.as_bytes())?;
        Ok(row.and_then(|row| started_at(row.value())))
    }

    /// Lists at most `most` names and records that come after a name.
    pub(super) fn list(&self, after: Option<&Name>, most: usize) -> Result<Rows, Fault> {
        let entries = self.db.begin_read()?.open_table(ENTRIES)?;
        let bytes = after.map(Name::as_bytes);
        let range = match bytes {
            Some(after) => {
                entries.range::<&[u8; Name::BYTES]>((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded))?
            }
            None => entries.iter()?,
        };
        let (mut listed, mut bytes) = (Vec::new(), 0);
        for row in range {
            let (name, row) = row?;
            let (Some(name), Some(record)) = (Name::read(name.value()), row.value().get(PREFIX..)) else { continue };
            bytes += record.len();
            if listed.len() == most || (bytes > LISTED && !listed.is_empty()) {
                let last = listed.last().map(|(name, _)| *name);
                return Ok((listed, last));
            }
            listed.push((name, record.to_vec()));
        }
        Ok((listed, None))
    }

    /// Returns `true` if any entry has reached the end of its use.
    pub(super) fn has_ended(&self, now: u64) -> Result<bool, Fault> {
        let ends = self.db.begin_read()?.open_table(ENDS)?;
        let first = ends.first()?;
        Ok(first.is_some_and(|(end, _)| end.value().0 <= now))
    }

    /// Commits changes. They are on the disk when the method returns.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Batch<'_>) -> Result<R, Fault>) -> Result<R, Fault> {
        let mut transaction = self.db.begin_write()?;
        transaction.set_durability(Durability::Immediate);
        let mut batch = Batch::open(&transaction)?;
        let result = change(&mut batch)?;
        let totals = batch.totals;
        drop(batch);
        totals.save(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    /// Returns a description of the contents if another program wrote them.
    fn foreign(&self) -> Result<Option<String>, Fault> {
        Ok(foreign(self.db.begin_read()?.list_tables()?, TOTALS.name()))
    }

    /// Returns the format, the totals and the invalidated tags of a file. Creates the tables in a new file.
    fn begin(&self) -> Result<(u64, Totals, InvalidatedTags), Fault> {
        let read = self.db.begin_read()?;
        let totals = match read.open_table(TOTALS) {
            Ok(totals) => totals,
            Err(TableError::TableDoesNotExist(_)) => {
                self.change(|_| Ok(()))?;
                return Ok((FORMAT, Totals::default(), InvalidatedTags::new()));
            }
            Err(error) => return Err(error.into()),
        };
        let format = totals.get("format")?.map_or(0, |format| format.value());
        if format != FORMAT {
            return Ok((format, Totals::default(), InvalidatedTags::new()));
        }
        let mut invalidated_tags = InvalidatedTags::new();
        for row in read.open_table(INVALIDATED)?.iter()? {
            let (tag, at) = row?;
            invalidated_tags.push((*tag.value(), Timestamp::from_nanos(at.value())));
        }
        Ok((format, Totals::load(&totals)?, invalidated_tags))
    }
}

impl<'t> Batch<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            entries: transaction.open_table(ENTRIES)?,
            order: transaction.open_table(ORDER)?,
            ends: transaction.open_table(ENDS)?,
            invalidated: transaction.open_table(INVALIDATED)?,
            totals: Totals::load(&transaction.open_table(TOTALS)?)?,
        })
    }

    /// Writes an entry. It replaces an entry of the same name unless that entry's call began later.
    pub(super) fn put(&mut self, row: &Row) -> Result<(), Fault> {
        // An entry whose call started later than the latest timestamp in the file must be damaged, so it is replaced.
        if self.started_at(&row.name)?.is_some_and(|known| known > row.started_at && known <= self.totals.last) {
            return Ok(());
        }
        self.remove(&row.name)?;
        let (number, name) = (self.totals.next, row.name.as_bytes());
        let head = [number, row.ends, row.started_at.nanos()].map(u64::to_le_bytes);
        let value = [head.as_flattened(), row.record.as_slice()].concat();
        self.entries.insert(name, value.as_slice())?;
        self.order.insert(number, name)?;
        self.ends.insert((row.ends, number), name)?;
        self.totals.next += 1;
        self.totals.entries += 1;
        self.totals.bytes += row.bytes();
        self.totals.last = self.totals.last.max(row.started_at);
        Ok(())
    }

    /// Removes an entry. Returns `true` if there was one.
    pub(super) fn remove(&mut self, name: &Name) -> Result<bool, Fault> {
        let Some(row) = self.entries.remove(name.as_bytes())? else { return Ok(false) };
        let row = row.value();
        if let (Some(number), Some(ends)) = (number(row, 0), number(row, 1)) {
            self.order.remove(number)?;
            self.ends.remove((ends, number))?;
        }
        let bytes = ROW_BYTES + row.len().saturating_sub(PREFIX) as u64;
        self.totals.entries = self.totals.entries.saturating_sub(1);
        self.totals.bytes = self.totals.bytes.saturating_sub(bytes);
        Ok(true)
    }

    /// Removes an entry, unless its call began after the timestamp `judged`.
    pub(super) fn evict_unless_newer(&mut self, name: &Name, judged: Timestamp) -> Result<(), Fault> {
        if self.started_at(name)?.is_some_and(|started_at| started_at <= judged) {
            self.remove(name)?;
        }
        Ok(())
    }

    /// Returns the time at which the call of an entry started.
    fn started_at(&self, name: &Name) -> Result<Option<Timestamp>, Fault> {
        Ok(self.entries.get(name.as_bytes())?.and_then(|row| started_at(row.value())))
    }

    /// Removes the oldest entries until no more than `most` bytes are left. Returns the number of removed entries.
    pub(super) fn shrink(&mut self, most: u64) -> Result<u64, Fault> {
        let mut gone = 0;
        while self.totals.bytes > most {
            let first = self.order.first()?.map(|(number, name)| (number.value(), Name::read(name.value())));
            let Some((number, name)) = first else { break };
            match name {
                Some(name) if self.remove(&name)? => gone += 1,
                _ => drop(self.order.remove(number)?),
            }
        }
        Ok(gone)
    }

    /// Removes up to `most` entries that have reached the end of their use. Returns `true` if there may be more.
    pub(super) fn sweep(&mut self, now: u64, most: usize) -> Result<bool, Fault> {
        for _ in 0..most {
            let first = self.ends.first()?.map(|(end, name)| (end.value(), Name::read(name.value())));
            let Some((end, name)) = first.filter(|((ends, _), _)| *ends <= now) else { return Ok(false) };
            match name {
                Some(name) if self.remove(&name)? => {}
                _ => drop(self.ends.remove(end)?),
            }
        }
        Ok(true)
    }

    /// Removes up to `most` entries of a partition. Returns `true` if there may be more.
    pub(super) fn forget(&mut self, partition: &[u8; PARTITION_BYTES], most: usize) -> Result<bool, Fault> {
        let (mut from, mut to) = ([0; Name::BYTES], [u8::MAX; Name::BYTES]);
        from[..PARTITION_BYTES].copy_from_slice(partition);
        to[..PARTITION_BYTES].copy_from_slice(partition);
        let mut names = Vec::new();
        for row in self.entries.range::<&[u8; Name::BYTES]>(&from..=&to)?.take(most) {
            names.extend(Name::read(row?.0.value()));
        }
        for name in &names {
            self.remove(name)?;
        }
        Ok(names.len() == most)
    }

    /// Remembers that a tag was invalidated.
    pub(super) fn invalidate(&mut self, tag: &[u8; 32], at: Timestamp) -> Result<(), Fault> {
        self.invalidated.insert(tag, at.nanos())?;
        self.totals.last = self.totals.last.max(at);
        Ok(())
    }

    /// Remembers that all entries were invalidated.
    pub(super) fn invalidate_all(&mut self, at: Timestamp) -> Result<(), Fault> {
        self.invalidated.retain(|_, _| false)?;
        self.totals.floor = self.totals.floor.max(at);
        self.totals.last = self.totals.last.max(at);
        Ok(())
    }

    /// Removes all entries, and keeps the invalidations.
    pub(super) fn clear(&mut self) -> Result<(), Fault> {
        self.entries.retain(|_, _| false)?;
        self.order.retain(|_, _| false)?;
        self.ends.retain(|_, _| false)?;
        (self.totals.entries, self.totals.bytes) = (0, 0);
        Ok(())
    }
}

impl Totals {
    fn load(totals: &impl ReadableTable<&'static str, u64>) -> Result<Self, Fault> {
        let of = |name: &str| totals.get(name).map(|found| found.map_or(0, |found| found.value()));
        Ok(Self {
            entries: of("entries")?,
            bytes: of("bytes")?,
            next: of("next")?,
            last: Timestamp::from_nanos(of("last")?),
            floor: Timestamp::from_nanos(of("floor")?),
        })
    }

    fn save(self, transaction: &WriteTransaction) -> Result<(), Fault> {
        let Self { entries, bytes, next, last, floor } = self;
        let mut totals = transaction.open_table(TOTALS)?;
        let fields = [
            ("format", FORMAT),
            ("entries", entries),
            ("bytes", bytes),
            ("next", next),
            ("last", last.nanos()),
            ("floor", floor.nanos()),
        ];
        for (name, value) in fields {
            totals.insert(name, value)?;
        }
        Ok(())
    }
}

impl Row {
    /// Returns the bytes that the entry counts against the capacity of the file.
    pub(super) fn bytes(&self) -> u64 {
        ROW_BYTES + self.record.len() as u64
    }
}

/// Reads the number with the index `nth` before a record.
fn number(row: &[u8], nth: usize) -> Option<u64> {
    row.get(nth * 8..nth * 8 + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
}

/// Returns the time at which the call for a row's entry started.
fn started_at(row: &[u8]) -> Option<Timestamp> {
    number(row, 2).map(Timestamp::from_nanos)
}

/// Returns `true` for an error about the contents that redb read. Other errors are failures of reading.
fn is_of_contents(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
