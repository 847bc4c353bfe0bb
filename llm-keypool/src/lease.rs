use std::{
    fmt,
    future::pending,
    ops::ControlFlow::{self, Break, Continue},
    sync::Arc,
};

use llm_core::{
    Charge, Error, ErrorKind, Usage,
    layer::{MemberId, VendorLimits},
};
use tokio::time::timeout_at;

use crate::{
    KeyPool, LeaseRequest, Member, Outcome, Verdict,
    pool::{Inner, Shared},
    state::{
        State,
        choice::{Attempt, Want},
    },
    time::Time,
};

/// Key that is leased for one attempt. [Report](Self::report) the outcome of the attempt. Dropping a lease without a
/// report frees its slot. The drop counts as a timeout of the key if the deadline has passed after at least ten seconds
/// without content, and otherwise leaves the pool's knowledge about the key unchanged.
pub struct Lease<K> {
    member: Arc<Member<K>>,
    pub(crate) inner: Arc<Inner<K>>,
    pub(crate) attempt: Attempt,
    /// Time at which the caller stops waiting for the response.
    deadline: Option<Time>,
    is_over: bool,
}

/// Failed attempt, with the classification of its error.
pub(crate) struct Failed {
    pub(crate) member: u32,
    pub(crate) stand_in: bool,
    pub(crate) verdict: Verdict,
    pub(crate) is_doubted: bool,
    pub(crate) error: Error,
}

impl<K> Lease<K> {
    /// Returns the key, or the service, of the member.
    pub fn key(&self) -> &K {
        &self.member.service
    }

    /// Returns the name of the member.
    pub fn member(&self) -> &str {
        &self.member.spec.name
    }

    /// Returns the member's own name for the model, which the request must use; `None` if it is the requested name.
    pub fn model(&self) -> Option<&str> {
        self.attempt.renamed.as_deref()
    }

    /// Returns `true` if the member serves a fallback in place of the requested model.
    pub fn is_fallback(&self) -> bool {
        self.attempt.stand_in
    }

    /// Reports the outcome of the attempt, and frees its slot.
    pub fn report(mut self, outcome: Outcome) {
        if outcome.error.is_some() {
            self.fail(outcome.into_error());
        } else {
            self.release(outcome.usage.as_ref(), |state, attempt, now| {
                state.succeeded(attempt, outcome.limits.as_deref(), now);
                state.completed(attempt, now);
            });
        }
    }

    /// Returns the name of the member for the extensions of a reply, where other layers read it.
    pub(crate) fn member_id(&self) -> MemberId {
        Arc::clone(&self.member.spec.name).into()
    }

    /// Records that the vendor serves the attempt.
    pub(crate) fn begin(&mut self, limits: Option<&VendorLimits>) {
        self.inner.with(|shared, now| shared.state.succeeded(&mut self.attempt, limits, now));
    }

    /// Ends an attempt that the vendor served. `is_complete` is `false` if the response was dropped or broke off.
    pub(crate) fn end(mut self, is_complete: bool, usage: Option<&Usage>) {
        self.release(usage, |state, attempt, now| {
            if is_complete {
                state.completed(attempt, now);
            }
        });
    }

    /// Ends the attempt with an error, and classifies the error.
    pub(crate) fn fail(mut self, error: Error) -> Failed {
        let own = self.inner.settings.verdict.as_ref().and_then(|read| read(&error));
        let is_late = error.kind() == ErrorKind::DeadlineExceeded;
        let usage = match error.charge() {
            Charge::Known(usage) => Some(usage),
            Charge::None | Charge::Unknown => None,
        };
        let (verdict, is_doubted) = self.release(usage.as_ref(), |state, attempt, now| {
            let read = || if is_late && attempt.was_silent(now) { Verdict::TimedOut } else { Verdict::of(&error) };
            let verdict = own.unwrap_or_else(read);
            (verdict, state.failed(attempt, verdict, &error, now))
        });
        Failed { member: self.attempt.place.member, stand_in: self.attempt.stand_in, verdict, is_doubted, error }
    }

    fn release<R>(&mut self, usage: Option<&Usage>, end: impl FnOnce(&mut State, &mut Attempt, Time) -> R) -> R {
        self.is_over = true;
        let attempt = &mut self.attempt;
        self.inner.with(|Shared { state, .. }, now| {
            let result = end(state, attempt, now);
            state.release(attempt, usage, now);
            result
        })
    }
}

/// Frees the attempt's slot. If the attempt was a probe, a later attempt may become the probe. If the attempt is
/// dropped although its deadline has passed after at least ten seconds without content, it counts as a timeout of its
/// member. Otherwise the drop says nothing about the member.
impl<K> Drop for Lease<K> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let deadline = self.deadline;
        self.release(None, |state, attempt, now| {
            if deadline.is_some_and(|deadline| now >= deadline) && attempt.was_silent(now) {
                let error = Error::new(ErrorKind::DeadlineExceeded, "the deadline passed without a response");
                state.failed(attempt, Verdict::TimedOut, &error, now);
            }
        });
    }
}

impl<K> fmt::Debug for Lease<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("member", &self.member()).finish_non_exhaustive()
    }
}

impl<K> KeyPool<K> {
    /// Leases a key. If no key has room, waits for one until the request's deadline, but no longer than
    /// [`max_wait`](crate::KeyPoolBuilder::max_wait).
    ///
    /// ```
    /// # tokio_test::block_on(async {
    /// use llm_keypool::{KeyPool, LeaseRequest, Member, Outcome};
    ///
    /// let pool = KeyPool::builder().member(Member::new("a", "sk-a")).member(Member::new("b", "sk-b")).build()?;
    /// let lease = pool.lease(&LeaseRequest::new("gpt-4o")).await?;
    /// assert!(lease.key().starts_with("sk-"));
    /// // … the request, by any client …
    /// lease.report(Outcome::status(200, None));
    /// # Ok::<_, llm_core::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// `RateLimited` if no key can be used in time, `Unavailable` if waiting does not help for any key, `Overloaded` if
    /// too many requests wait already, `DeadlineExceeded` if the deadline has passed.
    pub async fn lease(&self, request: &LeaseRequest) -> Result<Lease<K>, Error> {
        self.0.acquire(&mut Want::new(request)).await
    }

    /// Leases a key if one has room now.
    ///
    /// ```
    /// use llm_keypool::{KeyPool, LeaseRequest, Member};
    ///
    /// let pool = KeyPool::builder().member(Member::new("a", "sk-a").max_in_flight(1)).build()?;
    /// let lease = pool.try_lease(&LeaseRequest::new("gpt-4o"))?;
    /// assert_eq!((lease.member(), *lease.key()), ("a", "sk-a"));
    /// assert!(pool.try_lease(&LeaseRequest::new("gpt-4o")).is_err(), "it makes one attempt at a time");
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `RateLimited` if no key has room now, `Unavailable` if waiting does not help for any key, `DeadlineExceeded` if
    /// the deadline has passed.
    pub fn try_lease(&self, request: &LeaseRequest) -> Result<Lease<K>, Error> {
        match self.0.advance(&mut Want::new(request), true, 0) {
            Break(result) => result,
            Continue(_) => Err(Error::new(ErrorKind::RateLimited, "no member of the pool has room now")),
        }
    }
}

/// Call that waits for a member. Dropping it removes the call from its queue.
struct Queued<'a, 'r, K> {
    inner: &'a Inner<K>,
    want: &'a mut Want<'r>,
}

impl<K> Inner<K> {
    /// Waits for a member until the deadline, but no longer than `max_wait`.
    pub(crate) async fn acquire(self: &Arc<Self>, want: &mut Want<'_>) -> Result<Lease<K>, Error> {
        match self.advance(want, true, self.settings.max_wait) {
            Break(result) => result,
            // Boxed, so that calls that do not wait do not carry the size of this future.
            Continue(until) => Box::pin(self.wait(want, until)).await,
        }
    }

    async fn wait(self: &Arc<Self>, want: &mut Want<'_>, mut until: Time) -> Result<Lease<K>, Error> {
        let queued = Queued { inner: self, want };
        loop {
            let woken = async {
                match &queued.want.ticket {
                    Some(ticket) => ticket.notify.notified().await,
                    None => pending().await,
                }
            };
            // The state decides if this call is the next one, after a wake-up as well as after the timeout.
            drop(timeout_at(self.instant(until), woken).await);
            match self.advance(queued.want, false, self.settings.max_wait) {
                Break(result) => return result,
                Continue(next) => until = next,
            }
        }
    }

    /// Tries to get a member for a call. Returns a lease or an error, or the time at which the call must try again.
    fn advance(
        self: &Arc<Self>,
        want: &mut Want<'_>,
        begins: bool,
        max_wait: Time,
    ) -> ControlFlow<Result<Lease<K>, Error>, Time> {
        self.with(|shared, now| {
            if begins {
                shared.state.begin(want, now);
            }
            let deadline = want.request.deadline.latest().map(|deadline| self.time_of(deadline));
            if begins && deadline.is_some_and(|deadline| deadline <= now) {
                return Break(Err(Error::new(ErrorKind::DeadlineExceeded, "the call's deadline has passed")));
            }
            want.gives_up = want.arrived.saturating_add(max_wait).min(deadline.unwrap_or(Time::MAX));
            let attempt = shared.state.advance(want, now);
            attempt.map_break(|attempt| {
                let attempt = attempt?;
                let member = shared.members[attempt.place.member as usize].clone();
                let (member, inner) = (member.expect("what is chosen is a member"), Arc::clone(self));
                Ok(Lease { member, inner, attempt, deadline, is_over: false })
            })
        })
    }
}

impl<K> Drop for Queued<'_, '_, K> {
    fn drop(&mut self) {
        self.inner.with(|shared, _| shared.state.leave_queue(self.want));
    }
}
