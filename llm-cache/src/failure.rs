//! Errors of the cache itself, and the meaning of errors for leaders and waiters.
//!
//! An error that concerns only the leader (its deadline, its cancellation) is not passed to the waiters. Instead, one
//! of the waiters leads a new call. Any other error concerns the request, and all waiters get it.

use llm_core::{Charge, Error, ErrorKind};

use crate::{path::single_flight::Batch, store::Outcome};

/// Returns the error of a call with `only_if_cached` that finds no entry.
pub(crate) fn not_cached() -> Error {
    Error::new(ErrorKind::NotFound, "no stored answer, and the call wanted no other (only-if-cached)")
}

/// Returns the outcome of a failed call, for waiters in other processes.
pub(crate) fn outcome(error: &Error) -> Outcome {
    if is_of_one_caller(error) { Outcome::Left } else { Outcome::Over }
}

/// Returns the error for a caller whose deadline passed before the response arrived.
pub(crate) fn deadline_exceeded() -> Error {
    Error::new(ErrorKind::DeadlineExceeded, "the call's deadline passed before its answer came")
        .with_charge(Charge::Unknown)
}

/// Returns the error of a call that panicked, or whose runtime has ended, after it may have been sent.
pub(crate) fn lost() -> Error {
    let reason = "the shared call panicked, or the runtime that it began in has ended";
    Error::new(ErrorKind::Other, reason).with_charge(Charge::Unknown)
}

/// Returns `true` if an error concerns one caller (its deadline or its cancellation), and not the request.
fn is_of_one_caller(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::DeadlineExceeded | ErrorKind::Cancelled)
}

/// Returns `true` if a waiter must try again after this error of the call that it joined, because the error concerns
/// only the leader, or perhaps only items of the batch that the waiter does not need. `asked_here` is the number of
/// items of the batch that the waiter needs.
pub(crate) fn is_of_other_call(error: &Error, batch: Batch, asked_here: usize) -> bool {
    is_of_one_caller(error) || asked_here < batch.items && !allows_stale(error)
}

/// Returns `true` if a stale entry may be served in place of an error.
pub(crate) fn allows_stale(error: &Error) -> bool {
    use ErrorKind::{DeadlineExceeded as Late, OverBudget, Overloaded, QuotaExhausted, RateLimited};
    use ErrorKind::{Server, Timeout, Transport, Unavailable};
    matches!(
        error.kind(),
        Late | RateLimited | QuotaExhausted | OverBudget | Overloaded | Server | Timeout | Transport | Unavailable
    )
}
