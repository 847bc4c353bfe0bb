use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use llm_core::{Clock, SystemClock};

use super::{LedgerFile, LedgerFileError, disk::Disk, files::LedgerFiles, thread::FlushThread};
use crate::ledger::{Ledger, accounts::Choice, months::MonthTable, request_log::RequestLog, shared::Recording};

/// Settings of a [`LedgerFile`], before it is opened.
#[derive(Debug)]
#[must_use]
pub struct LedgerFileBuilder {
    path: PathBuf,
    choice: Choice,
    log: Option<PathBuf>,
    with_texts: bool,
    clock: Arc<dyn Clock>,
}

impl LedgerFile {
    /// Creates the settings of a ledger's file at this path.
    pub fn builder(path: impl Into<PathBuf>) -> LedgerFileBuilder {
        LedgerFileBuilder::new(path.into())
    }
}

impl LedgerFileBuilder {
    fn new(path: PathBuf) -> Self {
        Self { path, choice: Choice::default(), log: None, with_texts: false, clock: Arc::new(SystemClock) }
    }

    /// Adds a row for each month and tenant.
    pub fn by_tenant(mut self) -> Self {
        self.choice.tenants = true;
        self
    }

    /// Adds a row for each month and requested model.
    pub fn by_model(mut self) -> Self {
        self.choice.models = true;
        self
    }

    /// Adds a row for each month and value of this label. Can be called for several labels.
    pub fn by_label(mut self, name: impl Into<Arc<str>>) -> Self {
        self.choice.labels.push(name.into());
        self
    }

    /// Appends a line of JSON for each request to the file at this path. The documentation of
    /// [`LedgerFile`](LedgerFile#request-log) describes the lines. Default: no log.
    pub fn request_log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self.with_texts = false;
        self
    }

    /// Appends lines as [`request_log`](Self::request_log) does, including the texts of requests and responses. A
    /// reader of the file can then read what users wrote. Words that look like a vendor's key are written as `[key]`.
    ///
    /// ```
    /// use llm_providers::{Ledger, ledger::LedgerFile, prices};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let (path, log) = (directory.path().join("costs.json"), directory.path().join("requests.jsonl"));
    /// let ledger = Ledger::new(prices::openai());
    /// let file = LedgerFile::builder(path).request_log_with_texts(log).open(&ledger)?;
    /// # file.close()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn request_log_with_texts(mut self, path: impl Into<PathBuf>) -> Self {
        self = self.request_log(path);
        self.with_texts = true;
        self
    }

    /// Sets the clock that decides the month of a call. Default: the machine's clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Reads the file, or creates it if it does not exist, and connects the ledger to it. It blocks until the disk has
    /// answered. Calls that are booked later are written by [`LedgerFile::flush`].
    ///
    /// Open the file before the first call, because calls that were booked earlier are not written to it. Set the
    /// bounds of the ledger before, too.
    ///
    /// # Errors
    ///
    /// [`LedgerFileError::InUse`], [`LedgerFileError::Open`], [`LedgerFileError::Newer`], [`LedgerFileError::Write`] if a new file or the request log
    /// cannot be made, and [`LedgerFileError::LedgerInUse`].
    pub fn open(self, ledger: &Ledger) -> Result<LedgerFile, LedgerFileError> {
        let (disk, mut months) = Disk::open(self.path, self.log.clone())?;
        let request_log = self.log.as_ref().map(|_| self.with_texts);
        if !ledger.record(Recording { clock: self.clock, request_log }) {
            return Err(LedgerFileError::LedgerInUse);
        }
        let mut table = ledger.account_table();
        for accounts in months.0.values_mut() {
            Arc::make_mut(accounts).bound_as(&table.totals);
        }
        table.log = self.log.map(|_| RequestLog::default());
        table.months = Some(MonthTable { choice: self.choice, months, is_changed: false });
        drop(table);
        let files = LedgerFiles { ledger: ledger.clone(), disk: Mutex::new(disk) };
        Ok(LedgerFile { files: Arc::new(files), thread: None })
    }

    /// Opens the file as [`open`](Self::open) does, and **starts a thread** that flushes it periodically. When the file
    /// is closed or dropped, the thread flushes a last time and ends, and the caller waits for it.
    ///
    /// # Errors
    ///
    /// The errors of [`open`](Self::open), and [`LedgerFileError::Write`] if the thread cannot be started.
    pub fn start(self, ledger: &Ledger, every: Duration) -> Result<LedgerFile, LedgerFileError> {
        let path = self.path.clone();
        let mut file = self.open(ledger)?;
        let thread = FlushThread::start(Arc::clone(&file.files), every);
        let failed = |error| LedgerFileError::Write { path, message: format!("no thread: {error}") };
        file.thread = Some(thread.map_err(failed)?);
        Ok(file)
    }
}
