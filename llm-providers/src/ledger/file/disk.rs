use std::{
    ffi::OsString,
    fs::{File, Metadata, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{LedgerFileError, contents};
use crate::ledger::Months;

/// Files of a ledger. One flush at a time uses them.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// State of the file right after this process wrote it. A different state shows that another process changed the
    /// file.
    stamp: Option<Stamp>,
    log: Option<PathBuf>,
    /// Lock that is held until this value is dropped or the process ends; `None` on a file system without locks.
    _lock: Option<File>,
}

/// Length of a file, time of its last change, and on Unix its inode number, which differs after each replacement.
type Stamp = (u64, Option<SystemTime>, u64);

impl Disk {
    /// Reads the totals of each month, or creates an empty file.
    pub(super) fn open(path: PathBuf, log: Option<PathBuf>) -> Result<(Self, Months), LedgerFileError> {
        let lock = lock(&path)?;
        let failed = |error: io::Error| LedgerFileError::Open { path: path.clone(), message: error.to_string() };
        let stamp = stamp(&path).map_err(failed)?;
        let months = match stamp {
            Some(_) => contents::parse(&path, &std::fs::read(&path).map_err(failed)?)?,
            None => Months::default(),
        };
        let mut disk = Self { path, stamp, log, _lock: lock };
        if stamp.is_none() {
            disk.replace(&months)?;
        }
        disk.append("")?;
        Ok((disk, months))
    }

    /// Replaces the file in one step. If the process is killed, either the old or the new file exists.
    pub(super) fn replace(&mut self, months: &Months) -> Result<(), LedgerFileError> {
        let failed = |error: io::Error| LedgerFileError::Write { path: self.path.clone(), message: error.to_string() };
        let found = stamp(&self.path).map_err(failed)?;
        if found.is_some() && found != self.stamp {
            return Err(LedgerFileError::Changed { path: self.path.clone() });
        }
        self.stamp = write(&self.path, &contents::write(months)).map_err(failed)?;
        Ok(())
    }

    /// Appends lines to the request log, if there is one. On an error none of them is in the log.
    pub(super) fn append(&self, lines: &str) -> Result<(), LedgerFileError> {
        let Some(path) = &self.log else { return Ok(()) };
        append(path, lines.as_bytes())
            .map_err(|error| LedgerFileError::Write { path: path.clone(), message: error.to_string() })
    }
}

/// Locks a separate lock file next to the one at `path`, because a flush replaces the latter.
fn lock(path: &Path) -> Result<Option<File>, LedgerFileError> {
    let failed = |error: io::Error| LedgerFileError::Write { path: path.into(), message: error.to_string() };
    let mut beside = OsString::from(path);
    beside.push(".lock");
    let file = private().open(beside).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(LedgerFileError::InUse { path: path.into() }),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
    match path.metadata() {
        Ok(data) => Ok(Some((data.len(), data.modified().ok(), number(&data)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn number(data: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(data)
}

#[cfg(not(unix))]
fn number(_: &Metadata) -> u64 {
    0
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<Option<Stamp>> {
    let mut beside = OsString::from(path);
    beside.push(".new");
    let mut file = private().truncate(true).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    // The directory is synced, so that a power failure does not undo the renaming.
    #[cfg(unix)]
    if let Some(directory) = path.parent() {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        File::open(directory)?.sync_all()?;
    }
    stamp(path)
}

/// Appends complete lines to the file. If a killed process left an incomplete line at the end, a line break is written
/// first. If the write fails, the part that was written is removed.
fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    let mut file = private().read(true).open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    let written = end_line(&mut file, length).and_then(|()| file.write_all(lines)).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = file.set_len(length);
    }
    written
}

fn end_line(file: &mut File, length: u64) -> io::Result<()> {
    let mut last = [b'\n'];
    if length > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last == [b'\n'] { Ok(()) } else { file.write_all(b"\n") }
}

/// Returns options for a file that only its owner can read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
