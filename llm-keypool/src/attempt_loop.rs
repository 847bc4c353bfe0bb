//! Loop that makes the attempts of a call, one after the other.
//!
//! After a failed attempt the loop does one of three things. It *moves* the call to another member if the refusal cost
//! nothing and concerns a key or group. It *retries* the call if the vendor failed and the retry budget has a retry
//! left. It skips a member with a fallback model if the vendor's format cannot express the request. The layers above
//! must permit each move and each retry. The final error of a call lists the charges of all its attempts.

use std::{future::Future, sync::Arc};

use llm_core::{Charge, Error, ErrorKind, layer::AttemptPermit};

use crate::{
    KeyPool, LeaseRequest, Outcome, Verdict,
    lease::{Failed, Lease},
    pool::Inner,
    state::choice::Want,
};

/// Loop over the attempts of one call.
pub(crate) struct AttemptLoop {
    moves: u32,
    retries: u32,
    /// Error of the last failed attempt that may be charged. If none may be charged, it is the error of the first
    /// failed attempt. The error lists the charges of all attempts.
    failed: Option<Error>,
    /// Error of the first retried attempt at a member with the requested model. The caller gets this error if no member
    /// can be acquired for a further attempt, such as if no fallback can express the request.
    first: Option<Error>,
    permit: Option<AttemptPermit>,
    /// `true` if a layer above retries calls, so that this loop must not retry them.
    is_nested: bool,
}

impl<K> KeyPool<K> {
    /// Runs `attempt` with a leased key. If the attempt fails, runs `attempt` again, with another key if there is one,
    /// as long as a further attempt may succeed.
    ///
    /// ```
    /// # tokio_test::block_on(async {
    /// use llm_keypool::{KeyPool, LeaseRequest, Member, Outcome};
    ///
    /// let pool = KeyPool::builder().member(Member::new("a", "sk-a")).member(Member::new("b", "sk-b")).build()?;
    /// let request = LeaseRequest::new("gpt-4o");
    /// let text = pool.run(&request, |key| async move {
    ///     // The request, by any client. This vendor knows one of the keys.
    ///     if key == "sk-b" { Ok("hello") } else { Err(Outcome::status(401, None)) }
    /// });
    /// assert_eq!(text.await?, "hello");
    /// # Ok::<_, llm_core::Error>(()) }).unwrap();
    /// ```
    ///
    /// The error of `attempt` is an [`Outcome`], or an [`Error`] whose kind classifies the failure. `attempt` receives
    /// only the key. Use [`lease`](Self::lease) if members have names of their own for models, or to report the usage
    /// and the limits of successful attempts.
    ///
    /// # Errors
    ///
    /// The errors of [`lease`](Self::lease). If another attempt would not help, the error of the last attempt with the
    /// charges of all attempts.
    pub async fn run<T, E, F, A>(&self, request: &LeaseRequest, mut attempt: F) -> Result<T, Error>
    where
        K: Clone,
        E: Into<Outcome>,
        F: FnMut(K) -> A,
        A: Future<Output = Result<T, E>>,
    {
        let attempt = |lease: Lease<K>| {
            let sent = attempt(lease.key().clone());
            async move {
                match sent.await {
                    Ok(value) => {
                        lease.report(Outcome::success());
                        Ok(value)
                    }
                    Err(outcome) => Err(lease.fail(outcome.into().into_error())),
                }
            }
        };
        AttemptLoop::new(None, false).run(&self.0, request, attempt).await
    }
}

impl AttemptLoop {
    pub(crate) fn new(permit: Option<AttemptPermit>, is_nested: bool) -> Self {
        Self { moves: 0, retries: 0, failed: None, first: None, permit, is_nested }
    }

    /// Returns the number of moves and retries so far.
    pub(crate) fn failures(&self) -> u32 {
        self.moves + self.retries
    }

    /// Makes one attempt after another, as long as a further attempt may succeed.
    ///
    /// # Errors
    ///
    /// The final error, with the charges of all attempts.
    pub(crate) async fn run<K, R, A: Future<Output = Result<R, Failed>>>(
        &mut self,
        inner: &Arc<Inner<K>>,
        request: &LeaseRequest,
        mut attempt: impl FnMut(Lease<K>) -> A,
    ) -> Result<R, Error> {
        if !self.is_nested {
            inner.settings.budget.deposit();
        }
        let mut want = Want::new(request);
        loop {
            let next = match inner.acquire(&mut want).await {
                Ok(lease) => match attempt(lease).await {
                    Ok(result) => return Ok(result),
                    Err(failed) => self.next(inner, &mut want, failed).await,
                },
                Err(error) => Err(self.first.take().unwrap_or(error)),
            };
            next.map_err(|error| match &self.failed {
                Some(failed) => error.with_attempts_of(failed),
                None => error,
            })?;
        }
    }

    /// Decides if another attempt follows a failed one. Returns `Ok` after the pause before the next attempt, or the
    /// final error.
    async fn next<K>(&mut self, inner: &Inner<K>, want: &mut Want<'_>, failed: Failed) -> Result<(), Error> {
        let Failed { member, stand_in, verdict, is_doubted, error } = failed;
        self.failed = match self.failed.take() {
            // A failed attempt without a charge is not listed after another failed attempt.
            Some(before) if error.charge() == Charge::None => Some(before),
            before => Some(before.iter().fold(error.clone(), Error::with_earlier_attempts)),
        };
        let may_go_on = self.failures() < inner.settings.max_moves;
        if stand_in && may_go_on && cannot_express(&error) {
            want.exclude.push(member);
            self.moves += 1;
            return Ok(());
        }
        if verdict.moves() {
            if is_doubted || !may_go_on || !self.permits(&error).await {
                return Err(hide(inner, want, verdict, error));
            }
            self.moves += 1;
            return Ok(());
        }
        let is_free = inner.settings.retry_charged || error.charge() == Charge::None;
        let may_retry = verdict.is_failure() && may_go_on && !self.is_nested && want.request.repeatable && is_free;
        let is_over = error.kind() == ErrorKind::DeadlineExceeded;
        let token = (may_retry && !is_over).then(|| inner.settings.budget.withdraw()).flatten();
        let Some(token) = token else { return Err(error) };
        if self.retries > 0 || inner.with(|shared, _| shared.state.member_ids.len() == 1) {
            tokio::time::sleep(inner.settings.backoff.wait(self.retries + 1)).await;
        }
        if !self.permits(&error).await {
            return Err(error);
        }
        token.spend();
        self.retries += 1;
        want.avoid = Some(member);
        self.first = self.first.take().or((!stand_in).then_some(error));
        Ok(())
    }

    /// Returns `true` if the layers above permit another attempt.
    async fn permits(&self, failed: &Error) -> bool {
        match &self.permit {
            Some(permit) => permit.request(failed).await.is_ok(),
            None => true,
        }
    }
}

/// Returns `true` if the format of a fallback's vendor cannot express the request, so that the error is no failure of
/// the vendor.
fn cannot_express(error: &Error) -> bool {
    let is_kind =
        matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidRequest | ErrorKind::ContextTooLong);
    is_kind && error.charge() == Charge::None
}

/// Returns the error that a caller gets if a call is not sent again after a refusal. A refusal of a key or an account
/// becomes an error of the pool, because the vendor's message may hold a part of the key.
fn hide<K>(inner: &Inner<K>, want: &Want<'_>, verdict: Verdict, error: Error) -> Error {
    if verdict.is_private() { inner.with(|shared, _| shared.state.unavailable(want)) } else { error }
}
