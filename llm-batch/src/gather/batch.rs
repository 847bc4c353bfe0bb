//! A batch of callers, from the one that opens it to the last result.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, join, select},
};
use llm_core::{
    Error, ErrorKind,
    layer::{AttemptPermit, BatchLimits, LimitScope, LimitWindow, SharedDeadline},
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};
use tracing::Instrument;

use super::{
    shared::Shared,
    telemetry,
    window::{Flush, Gaps, Size, Window},
};

/// Sends the items of several callers as one request.
pub(crate) trait Deliver: Clone + Send + 'static {
    /// Requests that one caller has sent.
    type Item: Clone + Send + 'static;
    /// Outcome that one caller gets.
    type Response: Send + 'static;

    /// Returns one result for each item, in order. If the request fails, each is its error.
    ///
    /// Items whose error is one of the request itself are sent again in halves, unless the item was alone.
    fn deliver(
        self,
        items: Vec<Self::Item>,
        deadline: SharedDeadline,
    ) -> impl Future<Output = Vec<Result<Self::Response, Error>>> + Send;
}

/// An item of one caller.
pub(crate) struct Entry<I> {
    pub(crate) item: I,
    /// Number of inputs inside, at least 1, and their likely tokens.
    pub(crate) size: Size,
    /// Limits of the request that it opens.
    pub(crate) limits: BatchLimits,
    /// Permit that is requested before a further attempt.
    pub(crate) permit: Option<AttemptPermit>,
}

/// Result that a caller waits for.
pub(super) type Response<D> = oneshot::Receiver<Result<<D as Deliver>::Response, Error>>;

/// Caller of a batch, until it has its result.
struct Member<D: Deliver> {
    entry: Entry<D::Item>,
    since: Instant,
    /// Closed if the caller has left.
    reply: oneshot::Sender<Result<D::Response, Error>>,
    /// Error of the attempt before, alone and with those of all earlier ones.
    failed: Option<(Error, Error)>,
}

/// Batch that callers join until it is to be sent.
pub(super) struct Batch<D: Deliver> {
    /// Deadlines of its callers.
    pub(super) deadline: SharedDeadline,
    state: Mutex<State<D>>,
    /// Notified when it is to be sent earlier.
    earlier: Notify,
}

/// State that callers change as they join, and the driver as it sends.
struct State<D: Deliver> {
    window: Window,
    /// Cause to send it. It is closed to further callers then.
    cause: Option<Flush>,
    members: Vec<Member<D>>,
}

/// Sends requests of one batch.
#[derive(Clone)]
struct Sender<D> {
    shared: Arc<Shared>,
    deadline: SharedDeadline,
    deliver: D,
}

impl<D: Deliver> Batch<D> {
    /// Creates a batch without callers, which is sent at once if there is a cause already.
    pub(super) fn new(window: Window, cause: Option<Flush>) -> Self {
        let state = Mutex::new(State { window, cause, members: Vec::new() });
        Self { deadline: SharedDeadline::new(), state, earlier: Notify::new() }
    }

    /// Adds the caller that opens it.
    pub(super) fn open(&self, now: Instant, entry: Entry<D::Item>, gaps: &Gaps) -> Response<D> {
        self.lock().add(now, entry, gaps)
    }

    /// Adds a caller.
    ///
    /// # Errors
    ///
    /// The entry, if the batch is closed or has no room. It is sent at once then.
    pub(super) fn join(&self, now: Instant, entry: Entry<D::Item>, gaps: &Gaps) -> Result<Response<D>, Entry<D::Item>> {
        let mut state = self.lock();
        if state.cause.is_some() {
            return Err(entry);
        }
        let due = state.window.due;
        state.cause = state.window.rejects(entry.size);
        let joined = if state.cause.is_some() { Err(entry) } else { Ok(state.add(now, entry, gaps)) };
        if state.cause.is_some() || state.window.due < due {
            self.earlier.notify_one();
        }
        joined
    }

    /// Waits until the batch is to be sent, closes it to further callers, and takes those that are left.
    async fn due(&self, shared: &Shared) -> (Flush, usize, Vec<Member<D>>) {
        loop {
            let (changed, moved) = (shared.changed.notified(), self.deadline.changed());
            let closed = shared.totals().is_closed.then_some(Flush::CLOSE);
            let due = {
                let state = &mut *self.lock();
                let (due, cause) = state.window.due(self.deadline.earliest().map(Instant::from_std));
                state.cause = state.cause.or(closed).or((due <= Instant::now()).then_some(cause));
                if let Some(cause) = state.cause {
                    let mut members = std::mem::take(&mut state.members);
                    members.retain(|member| !member.reply.is_closed());
                    return (cause, state.window.fill().1, members);
                }
                due
            };
            let (slept, earlier) = (pin!(sleep_until(due)), pin!(self.earlier.notified()));
            select(slept, select(earlier, select(pin!(changed), pin!(moved)))).await;
        }
    }

    /// Gathers the batch, sends it, and halves what fails, until each caller has its result.
    pub(super) async fn run(self: Arc<Self>, shared: Arc<Shared>, deliver: D) {
        let (cause, most, members) = self.due(&shared).await;
        if !members.is_empty() && cause != Flush::SHADOW {
            let now = Instant::now();
            let items = members.iter().map(|member| member.entry.size.items).sum();
            let waits = members.iter().map(|member| now.saturating_duration_since(member.since));
            telemetry::flushed(cause, (items, most), waits, false);
            shared.totals().stats.requests += 1;
        }
        send(Sender { shared, deadline: self.deadline.clone(), deliver }, members).await;
    }

    fn lock(&self) -> MutexGuard<'_, State<D>> {
        // Nothing foreign runs inside, and the state is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Deliver> State<D> {
    /// Adds a caller that fits. The batch closes to others if it is full then.
    fn add(&mut self, now: Instant, entry: Entry<D::Item>, gaps: &Gaps) -> Response<D> {
        self.cause = self.cause.or(self.window.add(now, entry.size, gaps));
        let (reply, response) = oneshot::channel();
        self.members.push(Member { entry, since: now, reply, failed: None });
        response
    }
}

/// Sends one request with the items whose callers are left and permit it, and what fails again, in halves.
fn send<D: Deliver>(sender: Sender<D>, members: Vec<Member<D>>) -> BoxFuture<'static, ()> {
    async move {
        let members = permitted(members).await;
        let Some(first) = members.first() else { return };
        let is_further = first.failed.is_some();
        if is_further {
            sender.shared.totals().stats.further_requests += 1;
        }
        let span = telemetry::request(members.len(), is_further);
        let items = members.iter().map(|member| member.entry.item.clone()).collect();
        let results = sender.deliver.clone().deliver(items, sender.deadline.clone()).instrument(span).await;
        let mut failed = finish(members, results);
        if failed.is_empty() {
            return;
        }
        sender.shared.totals().stats.halvings += 1;
        telemetry::halved(failed.len());
        let other = failed.split_off(failed.len() / 2);
        join(send(sender.clone(), failed), send(sender, other)).await;
    }
    .boxed()
}

/// Returns the callers that are left and permit a further attempt. The others get the error of the attempts before.
async fn permitted<D: Deliver>(members: Vec<Member<D>>) -> Vec<Member<D>> {
    let mut permitted = Vec::with_capacity(members.len());
    for member in members {
        if member.reply.is_closed() {
            continue;
        }
        if let (Some((last, all)), Some(permit)) = (&member.failed, &member.entry.permit)
            && permit.request(last).await.is_err()
        {
            // If the caller has left meanwhile, its result is dropped.
            let _ = member.reply.send(Err(all.clone()));
            continue;
        }
        permitted.push(member);
    }
    permitted
}

/// Gives each caller its result. Returns those whose items are to be sent again.
fn finish<D: Deliver>(members: Vec<Member<D>>, results: Vec<Result<D::Response, Error>>) -> Vec<Member<D>> {
    let is_alone = members.len() == 1;
    let mut again = Vec::new();
    for (mut member, result) in members.into_iter().zip(results) {
        let all = |error: Error| match &member.failed {
            Some((_, before)) => error.with_earlier_attempts(before),
            None => error,
        };
        match result {
            Err(error) if !is_alone && is_of_request(&error) => {
                member.failed = Some((error.clone(), all(error)));
                again.push(member);
            }
            result => {
                // If the caller has left meanwhile, its result is dropped.
                let _ = member.reply.send(result.map_err(all));
            }
        }
    }
    again
}

/// Returns `true` if the request itself is at fault, so that a part of it may succeed. After an error of the vendor, halves
/// would only multiply the load.
fn is_of_request(error: &Error) -> bool {
    use ErrorKind::{ContentFiltered, ContextTooLong, InvalidRequest, Malformed};
    use LimitScope::{Group, Key, Model};
    let is_too_large =
        matches!(error.scope(), Some(Key(window) | Model(window) | Group(window)) if window == LimitWindow::Request);
    is_too_large
        || error.status() == Some(413)
        || matches!(error.kind(), InvalidRequest | ContextTooLong | ContentFiltered | Malformed)
}
