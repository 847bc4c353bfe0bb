//! Errors, and what they mean for whom.

use llm_core::{Charge, Error, ErrorKind};

use crate::{path::single_flight::Batch, store::Outcome};

/// The answer to a call that wanted no other than a stored one.
pub(crate) fn not_cached() -> Error {
    Error::new(ErrorKind::NotFound, "no stored answer, and the call wanted no other (only-if-cached)")
}

/// What a failed call means for other processes that wait for its answer.
pub(crate) fn outcome(error: &Error) -> Outcome {
    if is_of_one_caller(error) { Outcome::Left } else { Outcome::Over }
}

/// The caller's deadline passed first.
pub(crate) fn deadline_exceeded() -> Error {
    Error::new(ErrorKind::DeadlineExceeded, "the call's deadline passed before its answer came")
        .with_charge(Charge::Unknown)
}

/// The error of a call that panicked after it may have been sent.
pub(crate) fn lost() -> Error {
    let reason = "the shared call panicked, or the runtime that it began in has ended";
    Error::new(ErrorKind::Other, reason).with_charge(Charge::Unknown)
}

/// True if an error is about one caller, and not about the question.
fn is_of_one_caller(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::DeadlineExceeded | ErrorKind::Cancelled)
}

/// True if an error is about somebody else's call: about him, or about all that he asked for together, of which only some
/// is asked for here.
pub(crate) fn is_of_other_call(error: &Error, batch: Batch, asked_here: usize) -> bool {
    is_of_one_caller(error) || asked_here < batch.items && !allows_stale(error)
}

/// True if an error lets an old answer be served.
pub(crate) fn allows_stale(error: &Error) -> bool {
    use ErrorKind::{DeadlineExceeded as Late, OverBudget, Overloaded, QuotaExhausted, RateLimited};
    use ErrorKind::{Server, Timeout, Transport, Unavailable};
    matches!(
        error.kind(),
        Late | RateLimited | QuotaExhausted | OverBudget | Overloaded | Server | Timeout | Transport | Unavailable
    )
}
