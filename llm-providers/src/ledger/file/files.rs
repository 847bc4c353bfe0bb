use std::sync::{Mutex, PoisonError};

use super::{LedgerFileError, disk::Disk};
use crate::ledger::{Ledger, months::MonthTable, request_log::RequestLog};

/// Ledger, and the files to which a flush writes its accounts.
pub(super) struct LedgerFiles {
    pub(super) ledger: Ledger,
    pub(super) disk: Mutex<Disk>,
}

impl LedgerFiles {
    /// Writes the totals to the file, if they changed, and appends the waiting lines to the request log.
    pub(super) fn flush(&self) -> Result<(), LedgerFileError> {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let (changed, lines) = {
            let table = &mut *self.ledger.account_table();
            let lines = table.log.as_mut().map(RequestLog::take).unwrap_or_default();
            let months = table.months.as_mut().filter(|months| months.is_changed);
            let copy = |months: &mut MonthTable| {
                months.is_changed = false;
                months.months.clone()
            };
            (months.map(copy), lines)
        };
        let appended = disk.append(&lines);
        let replaced = changed.map_or(Ok(()), |months| disk.replace(&months));
        let table = &mut *self.ledger.account_table();
        if let (Err(_), Some(log)) = (&appended, &mut table.log) {
            log.put_back(lines);
        }
        if let (Err(_), Some(months)) = (&replaced, &mut table.months) {
            months.is_changed = true;
        }
        replaced.and(appended)
    }
}
