//! Batch of callers, from the call that opens the batch to the last caller's result.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, join, join_all, select},
};
use llm_core::{
    Call, Error, ErrorKind,
    layer::{AttemptPermit, LimitScope, LimitWindow, SharedDeadline},
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};
use tracing::{Instrument, debug_span};

use super::{
    shared::Shared,
    window::{Arrivals, Size, Window},
};

/// Result of each of several calls, in order.
pub(crate) type Results<O> = Vec<Result<O, Error>>;

/// Sends the requests of several callers as one.
pub(crate) trait Deliver<T, O>: Clone + Send + 'static {
    /// Sends the calls and returns one result for each, in order. If the request fails, every result is the request's
    /// error.
    ///
    /// If the request itself caused the error, the batch sends the calls again in two halves, unless there was only one
    /// call.
    fn deliver(self, calls: Vec<Call<T>>, deadline: SharedDeadline) -> impl Future<Output = Results<O>> + Send;

    /// Returns the [`Deliver`] for the halves of a failed batch; by default the same one.
    fn halves(self) -> Self {
        self
    }
}

/// Caller in a batch, until it has its result.
pub(super) struct Member<T, O> {
    pub(super) call: Call<T>,
    /// Number of the call's items, at least 1, with their estimated tokens.
    pub(super) size: Size,
    /// Time at which the caller joined the batch.
    pub(super) since: Instant,
    /// Sender of the result. Its receiver is dropped when the caller leaves.
    pub(super) reply: oneshot::Sender<Result<O, Error>>,
    /// Error of the earlier attempts, if the caller's request was sent before and failed.
    pub(super) failed: Option<Error>,
    /// Marker by which the group counts the call as pending until the caller has its result.
    pub(super) _pending: Arc<()>,
}

/// Batch that callers can join until it is sent.
pub(super) struct Batch<T, O> {
    shared: Arc<Shared>,
    /// Deadlines of the batch's callers, the earliest of which limits the batch's wait.
    pub(super) deadline: SharedDeadline,
    gathered: Mutex<Gathered<T, O>>,
    /// Notified when the window's time to send the batch moves to an earlier time.
    earlier: Notify,
}

/// Window of a batch, with the batch's callers; `None` in place of the callers once the batch is being sent.
type Gathered<T, O> = (Window, Option<Vec<Member<T, O>>>);

impl<T: Clone + Send + 'static, O: Send + 'static> Batch<T, O> {
    /// Creates a batch with its first caller.
    pub(super) fn new(shared: &Arc<Shared>, window: Window, member: Member<T, O>) -> Arc<Self> {
        let (shared, gathered) = (Arc::clone(shared), Mutex::new((window, Some(vec![member]))));
        Arc::new(Self { shared, deadline: SharedDeadline::new(), gathered, earlier: Notify::new() })
    }

    /// Adds a caller.
    ///
    /// # Errors
    ///
    /// Returns the caller if the batch has been sent, is overdue, or has no room for the call. A batch without room is
    /// sent at once.
    pub(super) fn join(&self, member: Member<T, O>, arrivals: &mut Arrivals) -> Result<(), Member<T, O>> {
        let (window, Some(members)) = &mut *self.lock() else { return Err(member) };
        let due = window.due.0;
        let joins = window.join(member.since, member.size, arrivals);
        if window.due.0 < due {
            self.earlier.notify_one();
        }
        if !joins {
            return Err(member);
        }
        members.push(member);
        Ok(())
    }

    /// Waits for callers, sends the batch, and sends failed parts of it again, until each caller has its result.
    pub(super) async fn run(self: Arc<Self>, deliver: impl Deliver<T, O>) {
        self.send(deliver, self.due().await).await;
    }

    /// Waits until the batch must be sent, and takes its callers out of it, so that no further call can join.
    async fn due(&self) -> Vec<Member<T, O>> {
        loop {
            let (closing, moved) = (self.shared.closing.acquire(), self.deadline.changed());
            let due = {
                let (window, members) = &mut *self.lock();
                let due = window.due(self.deadline.earliest().map(Instant::from_std), self.shared.closing.is_closed());
                if due.0 <= Instant::now() {
                    window.due = due;
                    return members.take().unwrap_or_default();
                }
                due.0
            };
            let (slept, earlier) = (pin!(sleep_until(due)), pin!(self.earlier.notified()));
            select(slept, select(earlier, select(pin!(closing), pin!(moved)))).await;
        }
    }

    /// Sends one request for the callers that have not left. If the request itself causes a failure, sends the failed
    /// calls again in two halves.
    fn send(&self, deliver: impl Deliver<T, O>, mut members: Vec<Member<T, O>>) -> BoxFuture<'_, ()> {
        async move {
            members.retain(|member| !member.reply.is_closed());
            let Some(first) = members.first() else { return };
            let (is_further, is_alone) = (first.failed.is_some(), members.len() == 1);
            if !is_further && !self.shared.settings.is_shadow {
                self.shared.stats().requests += 1;
                let (now, items) = (Instant::now(), members.iter().map(|member| member.size.items).sum());
                let waits: Vec<_> = members.iter().map(|member| now.saturating_duration_since(member.since)).collect();
                let window = self.lock().0;
                self.shared.flushed(&window, items, &waits);
            }
            self.shared.stats().further_requests += u64::from(is_further);
            let span = debug_span!("llm.batch", llm.batch.calls = members.len(), llm.batch.further = is_further);
            let calls = members.iter().map(|member| member.call.clone()).collect();
            let results = deliver.clone().deliver(calls, self.deadline.clone()).instrument(span).await;
            let mut failed = Vec::new();
            for (member, result) in members.into_iter().zip(results) {
                match result {
                    Err(error) if !is_alone && is_of_request(&error) => failed.push(member.permitted(error)),
                    result => member.end(result),
                }
            }
            let mut again: Vec<_> = join_all(failed).await.into_iter().flatten().collect();
            if again.is_empty() {
                return;
            }
            self.shared.stats().halvings += 1;
            tracing::debug!(calls = again.len(), "a batch is halved, because the request itself failed");
            #[cfg(feature = "metrics")]
            metrics::counter!("llm_batch_halvings_total").increment(1);
            let (deliver, other) = (deliver.halves(), again.split_off(again.len() / 2));
            join(self.send(deliver.clone(), again), self.send(deliver, other)).await;
        }
        .boxed()
    }

    fn lock(&self) -> MutexGuard<'_, Gathered<T, O>> {
        // A poisoned lock is safe to use, because no code of callers runs inside the lock and the state is consistent
        // after every statement.
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T, O> Member<T, O> {
    /// Asks the caller's permit for a further attempt, after `error`. Returns the caller if the permit is granted. If
    /// it is refused, the caller gets `error`. Returns `None` also if the caller has left.
    async fn permitted(mut self, error: Error) -> Option<Self> {
        if self.reply.is_closed() {
            return None;
        }
        if let Some(permit) = self.call.extensions.get::<AttemptPermit>()
            && permit.request(&error).await.is_err()
        {
            self.end(Err(error));
            return None;
        }
        self.failed = Some(self.all(error));
        Some(self)
    }

    /// Gives the caller its result. If the caller has left, the result is dropped.
    fn end(self, result: Result<O, Error>) {
        let result = result.map_err(|error| self.all(error));
        let _ = self.reply.send(result);
    }

    /// Returns the error with the caller's earlier attempts added to its attempts.
    fn all(&self, error: Error) -> Error {
        self.failed.iter().fold(error, Error::with_earlier_attempts)
    }
}

/// Returns `true` if the request itself caused the error, so that a half of the batch may succeed. After an error of
/// the vendor, sending halves would only multiply the load.
fn is_of_request(error: &Error) -> bool {
    use ErrorKind::{ContentFiltered, ContextTooLong, InvalidRequest, Malformed};
    use LimitScope::{Group, Key, Model};
    let is_too_large =
        matches!(error.scope(), Some(Key(window) | Model(window) | Group(window)) if window == LimitWindow::Request);
    is_too_large
        || error.status() == Some(413)
        || matches!(error.kind(), InvalidRequest | ContextTooLong | ContentFiltered | Malformed)
}
