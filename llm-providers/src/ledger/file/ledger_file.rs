use std::{fmt, sync::Arc};

use super::{LedgerFileError, files::LedgerFiles, thread::FlushThread};
use crate::ledger::Months;

/// File that keeps a ledger's totals for each month, so that the cost of a job is known after a crash and a restart.
///
/// A call is booked in the month (UTC) in which it reached the ledger. The file has a total for each month. On request
/// it also has rows by tenant, by model and by labels that the application lists, with the bounds of the ledger
/// ([`Ledger::max_tenants`](crate::Ledger::max_tenants) and others) for each month. An optional request log has a line
/// of JSON for each request.
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
/// - A flush writes a new file and puts it in place of the old one in one step. A killed process loses what was booked
///   since the last flush that returned: with [`start`](super::LedgerFileBuilder::start), at most the period and the time
///   of one write. It loses no more, and never leaves half a file. A flush without a change writes nothing.
/// - A flush writes the rows of all months, about 1 KB each.
/// - An amount that was `open` when the process was killed stays so, because it is not known whether a caller got the
///   response.
/// - Only one process can open the file: a second one gets [`LedgerFileError::InUse`]. The lock is on a separate file,
///   named with `.lock` at the end, and is released when the process ends. [`Months::read`] needs no lock.
/// - A file that cannot be read, is of another program or of a later version is an error and is never overwritten. So
///   is a file that another process changed meanwhile, which is possible on a disk without locks.
/// - Rows that are no longer requested stay in the file unchanged.
///
/// # Request log
///
/// Each line has the time, tenant, labels, model and outcome (`completed`, `failed`, `dropped`) of a request, and of a
/// response its origin, the model of the response, the vendor and its id of the request, tokens and amounts as whole
/// nano-dollars. It has no text of a request or a response, unless
/// [`request_log_with_texts`](super::LedgerFileBuilder::request_log_with_texts) is used: then `texts` has `request`, of
/// a chat a `role` and a `text` for each message, of embeddings their texts, and `response`, a text or an own
/// operation's JSON. Lines are appended at a flush, before the totals; at most 16 MiB wait for one, and a line
/// `{"lost_lines":…}` counts those beyond.
#[must_use = "dropped, it is flushed only if it was started"]
pub struct LedgerFile {
    pub(super) files: Arc<LedgerFiles>,
    pub(super) thread: Option<FlushThread>,
}

impl LedgerFile {
    /// Writes all calls that have been booked. It blocks until the disk has written.
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
