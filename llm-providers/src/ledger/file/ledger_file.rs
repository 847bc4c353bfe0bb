use std::{fmt, sync::Arc};

use super::{LedgerFileError, files::LedgerFiles, thread::FlushThread};
use crate::ledger::Months;

/// File that keeps a ledger's totals for each month, so that the cost of a job is known after a crash and a restart.
///
/// A call is booked in the month (UTC) in which it reached the ledger. The file has a total for each month. The
/// [builder](super::LedgerFileBuilder) can add rows by tenant, by model and by labels that the application lists, with
/// the bounds of the ledger ([`Ledger::max_tenants`](crate::Ledger::max_tenants) and others) for each month. An
/// optional request log has a line of JSON for each request.
///
/// ```
/// use llm_providers::{Ledger, ledger::LedgerFile, prices};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("costs.json");
/// let ledger = Ledger::new(prices::openai());
/// let file = LedgerFile::builder(&path).by_tenant().by_model().by_label("job").open(&ledger)?;
/// // … calls with the label job=nightly …
/// file.flush()?;
/// println!("the job cost {} so far", file.months().of_label("job", "nightly").paid);
/// file.months().write_csv(std::io::stdout())?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Behaviour
///
/// - A flush writes a new file and replaces the old file atomically, so that a killed process never leaves an
///   incomplete file. A killed process loses the calls that were booked since the last flush that returned. With
///   [`start`](super::LedgerFileBuilder::start), these are the calls of at most one period and the time of one write. A
///   flush without a change writes nothing.
/// - A flush writes the rows of all months, about 1 KB each.
/// - An amount that was `open` when the process was killed stays `open`, because it is not known if a caller got the
///   response.
/// - Only one process can open the file. A second process gets [`LedgerFileError::InUse`]. The lock is on a separate
///   file, whose name ends with `.lock`, and is released when the process ends. [`Months::read`] needs no lock.
/// - A file that cannot be read, or that another program or a later version wrote, is an error and is never
///   overwritten. A file that another process changed after it was opened is an error too. Such a change is possible on
///   a file system without locks.
/// - Rows that are no longer requested stay in the file unchanged.
///
/// # Request log
///
/// Each line has the time, tenant, labels, model and outcome (`completed`, `failed`, `dropped`) of a request. The line
/// of a completed request also has the response's origin and model, the vendor and its id of the request, tokens, and
/// amounts as whole nano-dollars. A line has no text of a request or a response, unless
/// [`request_log_with_texts`](super::LedgerFileBuilder::request_log_with_texts) is used. Then the object `texts` has
/// the fields `request` and `response`. `request` is a list: a `role` and a `text` for each message of a chat, or the
/// texts to embed. `response` is the text of a chat response, or the JSON of an application's own operation. A flush
/// appends the lines before it writes the totals. At most 16 MiB of lines wait for a flush, and a line
/// `{"lost_lines":…}` states the number of lines beyond this bound, which are dropped.
#[must_use = "dropped, it is flushed only if it was started"]
pub struct LedgerFile {
    pub(super) files: Arc<LedgerFiles>,
    pub(super) thread: Option<FlushThread>,
}

impl LedgerFile {
    /// Writes all calls that have been booked to the file and to the request log. It blocks until the disk has written.
    ///
    /// # Errors
    ///
    /// [`LedgerFileError::Write`] and [`LedgerFileError::Changed`]. The totals stay in memory for the next flush.
    pub fn flush(&self) -> Result<(), LedgerFileError> {
        self.files.flush()
    }

    /// Returns a copy of the accounts, including those of earlier processes.
    pub fn months(&self) -> Months {
        self.files.ledger.account_table().months.as_ref().map(|table| table.months.clone()).unwrap_or_default()
    }

    /// Flushes a last time and ends the thread, if there is one. Calls that are booked later are not written.
    ///
    /// # Errors
    ///
    /// The errors of [`flush`](Self::flush).
    pub fn close(mut self) -> Result<(), LedgerFileError> {
        drop(self.thread.take());
        self.flush()
    }
}

impl fmt::Debug for LedgerFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerFile").field("ledger", &self.files.ledger).finish_non_exhaustive()
    }
}
