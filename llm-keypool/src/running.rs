//! Attempt that runs, and the course of a call over its attempts.

use std::sync::Arc;

use llm_core::{
    Charge, Error, ErrorKind, Usage,
    layer::{AttemptPermit, CallDeadline, VendorLimits},
};

use crate::{
    Verdict, error,
    pool::Inner,
    state::{
        choice::{Attempt, Want},
        report::Failure,
    },
    time::{SECOND, Time},
};

/// Attempt that runs. Dropped without an outcome, it returns its turns; its slot is free in any case.
pub(crate) struct Running<S> {
    inner: Arc<Inner<S>>,
    attempt: Option<Attempt>,
    deadline: CallDeadline,
    /// Content has come.
    has_begun: bool,
}

/// A deadline that passes after this time without content counts as a time-out of the member.
const TIMED_OUT: Time = 10 * SECOND;

impl<S> Running<S> {
    pub(crate) fn new(inner: Arc<Inner<S>>, attempt: Attempt, deadline: CallDeadline) -> Self {
        Self { inner, attempt: Some(attempt), deadline, has_begun: false }
    }

    pub(crate) fn attempt(&self) -> &Attempt {
        self.attempt.as_ref().expect("an attempt is taken when it ends")
    }

    /// Takes that the vendor serves it.
    pub(crate) fn begin(&mut self, limits: Option<&VendorLimits>) {
        self.has_begun = true;
        if let Some(attempt) = &self.attempt {
            self.inner.with(|shared, now| shared.state.succeeded(attempt, limits, now));
        }
    }

    /// Ends it after it was served, perhaps not to its end.
    pub(crate) fn end(mut self, is_complete: bool, usage: Option<&Usage>) {
        if let Some(attempt) = self.attempt.take() {
            self.inner.with(|shared, now| {
                if is_complete {
                    shared.state.completed(&attempt, now);
                }
                shared.state.release(&attempt, usage, now);
            });
        }
    }

    /// Takes that the vendor served it, and ends it.
    pub(crate) fn succeed(mut self, limits: Option<&VendorLimits>, usage: Option<&Usage>) {
        if let Some(attempt) = self.attempt.take() {
            self.inner.with(|shared, now| {
                shared.state.succeeded(&attempt, limits, now);
                shared.state.completed(&attempt, now);
                shared.state.release(&attempt, usage, now);
            });
        }
    }

    /// Ends it with an error. Returns the verdict, and if it is in doubt: the first 403 or 404 of a last member.
    pub(crate) fn fail(mut self, error: &Error) -> (Verdict, bool) {
        let Some(mut attempt) = self.attempt.take() else { return (Verdict::Request, false) };
        let inner = Arc::clone(&self.inner);
        let own = inner.settings.verdict.as_ref().and_then(|read| read(error));
        inner.with(|shared, now| {
            let timed_out = error.kind() == ErrorKind::DeadlineExceeded
                && !self.has_begun
                && now.saturating_sub(attempt.sent_at) >= TIMED_OUT;
            let verdict = own.unwrap_or(if timed_out { Verdict::TimedOut } else { Verdict::of(error) });
            let is_doubted = shared.state.failed(&mut attempt, &Failure::new(verdict, error), now);
            let usage = match error.charge() {
                Charge::Known(usage) => Some(usage),
                Charge::None | Charge::Unknown => None,
            };
            shared.state.release(&attempt, usage.as_ref(), now);
            (verdict, is_doubted)
        })
    }
}

impl<S> Drop for Running<S> {
    fn drop(&mut self) {
        let Some(mut attempt) = self.attempt.take() else { return };
        let has_begun = self.has_begun;
        let deadline = self.deadline.latest().map(|deadline| self.inner.time_of(deadline));
        self.inner.with(|shared, now| {
            let is_over = deadline.is_some_and(|deadline| now >= deadline);
            if is_over && !has_begun && now.saturating_sub(attempt.sent_at) >= TIMED_OUT {
                let error = Error::new(ErrorKind::DeadlineExceeded, "the deadline passed without a response");
                shared.state.failed(&mut attempt, &Failure::new(Verdict::TimedOut, &error), now);
            } else {
                shared.state.return_turns(&attempt, now);
            }
            shared.state.release(&attempt, None, now);
        });
    }
}

/// Course of a call over its attempts.
pub(crate) struct Course {
    moves: u32,
    retries: u32,
    /// Error of the last attempt, with the charges of all.
    failed: Option<Error>,
    /// Error of the first choice, while stand-ins that cannot express the request are skipped.
    first: Option<Error>,
    /// A layer above retries.
    pub(crate) is_nested: bool,
    pub(crate) is_repeatable: bool,
    pub(crate) permit: Option<AttemptPermit>,
}

/// Attempt that failed.
pub(crate) struct Failed {
    pub(crate) member: Arc<str>,
    pub(crate) stand_in: bool,
    pub(crate) verdict: Verdict,
    pub(crate) is_doubted: bool,
    pub(crate) error: Error,
}

impl Course {
    pub(crate) fn new(is_nested: bool, is_repeatable: bool, permit: Option<AttemptPermit>) -> Self {
        Self { moves: 0, retries: 0, failed: None, first: None, is_nested, is_repeatable, permit }
    }

    /// Returns the number of attempts that failed.
    pub(crate) fn failures(&self) -> u32 {
        self.moves + self.retries
    }

    /// Returns an error with the charges of all attempts, each with its model.
    pub(crate) fn charged(&self, error: Error) -> Error {
        match &self.failed {
            Some(failed) => error.with_charge(Charge::None).with_earlier_attempts(failed),
            None => error,
        }
    }

    /// Returns the error of a call for which there is no further member.
    pub(crate) fn ended(&self, error: Error) -> Error {
        self.charged(self.first.clone().unwrap_or(error))
    }

    /// Decides after a failed attempt: the call goes on, after a wait if need be, or ends with the error.
    ///
    /// # Errors
    ///
    /// The error that the caller gets.
    pub(crate) async fn next<S>(&mut self, inner: &Inner<S>, want: &mut Want, failed: Failed) -> Result<(), Error> {
        self.failed = Some(self.failed.iter().fold(failed.error.clone(), Error::with_earlier_attempts));
        let may_go_on = self.failures() < inner.settings.max_moves;
        if failed.stand_in && may_go_on && cannot_express(&failed.error) {
            want.exclude.push(failed.member);
        } else if !failed.verdict.moves() {
            return self.retry(inner, want, may_go_on, failed).await;
        } else if failed.is_doubted || !may_go_on || !self.permits(&failed.error).await {
            return Err(self.charged(hide(inner, want, failed.verdict, failed.error)));
        }
        self.moves += 1;
        Ok(())
    }

    async fn retry<S>(
        &mut self,
        inner: &Inner<S>,
        want: &mut Want,
        may_go_on: bool,
        failed: Failed,
    ) -> Result<(), Error> {
        let Failed { member, stand_in, verdict, error, .. } = failed;
        let is_free = inner.settings.retry_charged || error.charge() == Charge::None;
        let may_retry = verdict.is_failure() && may_go_on && !self.is_nested && self.is_repeatable && is_free;
        let is_over = error.kind() == ErrorKind::DeadlineExceeded;
        let Some(token) = (may_retry && !is_over).then(|| inner.settings.budget.withdraw()).flatten() else {
            return Err(self.charged(error));
        };
        if self.retries > 0 || inner.with(|shared, _| shared.state.members.len() == 1) {
            tokio::time::sleep(inner.settings.backoff.wait(self.retries + 1)).await;
        }
        if !self.permits(&error).await {
            return Err(self.charged(error));
        }
        token.spend();
        self.retries += 1;
        want.avoid = Some(member);
        self.first = self.first.take().or((!stand_in).then_some(error));
        Ok(())
    }

    /// Returns `true` if the layers above permit one more attempt.
    async fn permits(&self, failed: &Error) -> bool {
        match &self.permit {
            Some(permit) => permit.request(failed).await.is_ok(),
            None => true,
        }
    }
}

/// Returns `true` if the request is the cause, in the form that a stand-in would need.
fn cannot_express(error: &Error) -> bool {
    let is_kind =
        matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidRequest | ErrorKind::ContextTooLong);
    is_kind && error.charge() == Charge::None
}

/// Returns the error that a caller gets for a refusal that concerns a key or an account: the pool's own.
fn hide<S>(inner: &Inner<S>, want: &Want, verdict: Verdict, error: Error) -> Error {
    match verdict {
        Verdict::Unauthorized | Verdict::Unpaid | Verdict::Forbidden => {
            inner.with(|shared, _| error::unavailable(&shared.state, want.model, None))
        }
        _ => error,
    }
}
