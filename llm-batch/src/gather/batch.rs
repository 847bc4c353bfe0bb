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
    Call, Error, ErrorKind,
    layer::{AttemptPermit, BatchLimits, CallDeadline, LimitScope, LimitWindow, SharedDeadline},
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};
use tracing::Instrument;

use super::{
    shared::Shared,
    telemetry,
    window::{Arrivals, Flush, Size, Window},
};

/// Sends the items of several callers as one request.
pub(crate) trait Deliver: Clone + Send + 'static {
    /// Requests that one caller has sent.
    type Item: Clone + Send + 'static;
    /// Outcome that one caller gets.
    type Response: Send + 'static;

    /// Returns one result for each item, in order. If the request fails, each is its error.
    ///
    /// Items whose error is one of the request itself are sent again in halves, unless the item was alone. These requests are
    /// further ones.
    fn deliver(
        self,
        items: Vec<Self::Item>,
        deadline: SharedDeadline,
        is_further: bool,
    ) -> impl Future<Output = Vec<Result<Self::Response, Error>>> + Send;
}

/// An item of one caller.
pub(crate) struct Entry<I> {
    pub(crate) item: I,
    /// Number of inputs inside, at least 1, and their likely tokens.
    pub(crate) size: Size,
    /// Room of the request that it opens.
    pub(crate) most: Size,
    /// Most input tokens of an item.
    pub(crate) tokens_per_item: Option<u64>,
    /// Permit that is requested before a further attempt.
    pub(crate) permit: Option<AttemptPermit>,
    pub(crate) deadline: CallDeadline,
    /// Time at which it came.
    pub(crate) since: Instant,
}

/// Result that a caller waits for.
pub(super) type Response<D> = oneshot::Receiver<Result<<D as Deliver>::Response, Error>>;

/// Caller of a batch, until it has its result.
struct Member<D: Deliver> {
    entry: Entry<D::Item>,
    /// Closed if the caller has left.
    reply: oneshot::Sender<Result<D::Response, Error>>,
    /// Error of the attempt before, alone and with those of all earlier ones.
    failed: Option<(Error, Error)>,
    /// Counts the call among its group's until it is answered.
    _pending: Arc<()>,
}

/// Batch that callers join until it is to be sent.
pub(super) struct Batch<D: Deliver> {
    shared: Arc<Shared>,
    /// Deadlines of its callers.
    pub(super) deadline: SharedDeadline,
    state: Mutex<State<D>>,
    /// Notified when it is to be sent earlier.
    earlier: Notify,
}

/// State that callers change as they join, and the driver as it sends.
struct State<D: Deliver> {
    window: Window,
    members: Vec<Member<D>>,
}

impl<I> Entry<I> {
    /// Creates the entry of an item that comes now.
    pub(crate) fn new(item: I, size: Size, limits: BatchLimits) -> Self {
        let (most, tokens_per_item) = (Size::most(&limits), limits.tokens_per_item);
        Self {
            item,
            size,
            most,
            tokens_per_item,
            permit: None,
            deadline: CallDeadline::default(),
            since: Instant::now(),
        }
    }
}

impl<T> Entry<Call<T>> {
    /// Creates the entry of a call that comes now.
    pub(crate) fn of(call: Call<T>, size: Size, limits: BatchLimits) -> Self {
        let (permit, deadline) = (call.extensions.get().cloned(), CallDeadline::of(&call));
        Self { permit, deadline, ..Self::new(call, size, limits) }
    }
}

impl<D: Deliver> Batch<D> {
    /// Creates a batch with the caller that opens it.
    pub(super) fn open(
        shared: &Arc<Shared>,
        window: Window,
        entry: Entry<D::Item>,
        arrivals: &Arrivals,
    ) -> (Arc<Self>, Response<D>) {
        let mut state = State { window, members: Vec::new() };
        let response = state.push(entry, arrivals);
        let (shared, deadline, earlier) = (Arc::clone(shared), SharedDeadline::new(), Notify::new());
        (Arc::new(Self { shared, deadline, state: Mutex::new(state), earlier }), response)
    }

    /// Adds a caller.
    ///
    /// # Errors
    ///
    /// The entry, if the batch is closed or has no room. It is sent at once then.
    pub(super) fn join(&self, entry: Entry<D::Item>, arrivals: &Arrivals) -> Result<Response<D>, Entry<D::Item>> {
        let state = &mut *self.lock();
        let due = state.window.due;
        let joined = match state.window.join(entry.since, entry.size, arrivals) {
            true => Ok(state.push(entry, arrivals)),
            false => Err(entry),
        };
        if state.window.cause.is_some() || state.window.due < due {
            self.earlier.notify_one();
        }
        joined
    }

    /// Gathers the batch, sends it, and halves what fails, until each caller has its result.
    pub(super) async fn run(self: Arc<Self>, deliver: D) {
        let (cause, most, members) = self.due().await;
        if !members.is_empty() && cause != Flush::SHADOW {
            let now = Instant::now();
            let items = members.iter().map(|member| member.entry.size.items).sum();
            let waits = members.iter().map(|member| now.saturating_duration_since(member.entry.since));
            telemetry::flushed(cause, (items, most), waits, false);
            self.shared.totals().stats.requests += 1;
        }
        self.send(deliver, members).await;
    }

    /// Waits until the batch is to be sent, closes it to further callers, and takes those that are left.
    async fn due(&self) -> (Flush, usize, Vec<Member<D>>) {
        loop {
            let (changed, moved) = (self.shared.changed.notified(), self.deadline.changed());
            let closed = self.shared.totals().is_closed.then_some(Flush::CLOSE);
            let due = {
                let state = &mut *self.lock();
                let (due, cause) = state.window.due(self.deadline.earliest().map(Instant::from_std));
                if let Some(cause) = closed.or((due <= Instant::now()).then_some(cause)) {
                    state.window.close(cause);
                }
                if let Some(cause) = state.window.cause {
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

    /// Sends one request with the items whose callers are left and permit it, and what fails again, in halves.
    fn send(&self, deliver: D, members: Vec<Member<D>>) -> BoxFuture<'_, ()> {
        async move {
            let members = permitted(members).await;
            let Some(first) = members.first() else { return };
            let is_further = first.failed.is_some();
            self.shared.totals().stats.further_requests += u64::from(is_further);
            let span = telemetry::request(members.len(), is_further);
            let items = members.iter().map(|member| member.entry.item.clone()).collect();
            let results = deliver.clone().deliver(items, self.deadline.clone(), is_further).instrument(span).await;
            let mut failed = finish(members, results);
            if failed.is_empty() {
                return;
            }
            self.shared.totals().stats.halvings += 1;
            telemetry::halved(failed.len());
            let other = failed.split_off(failed.len() / 2);
            join(self.send(deliver.clone(), failed), self.send(deliver, other)).await;
        }
        .boxed()
    }

    fn lock(&self) -> MutexGuard<'_, State<D>> {
        // Nothing foreign runs inside, and the state is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Deliver> State<D> {
    fn push(&mut self, entry: Entry<D::Item>, arrivals: &Arrivals) -> Response<D> {
        let (reply, response) = oneshot::channel();
        self.members.push(Member { entry, reply, failed: None, _pending: arrivals.hold() });
        response
    }
}

impl<D: Deliver> Member<D> {
    /// Returns the error with those of the attempts before.
    fn all(&self, error: Error) -> Error {
        match &self.failed {
            Some((_, before)) => error.with_earlier_attempts(before),
            None => error,
        }
    }

    /// Gives the caller its result, which is dropped if it has left.
    fn end(self, result: Result<D::Response, Error>) {
        let _ = self.reply.send(result);
    }
}

/// Returns the callers that are left and permit a further attempt. The others get the error of the attempts before.
async fn permitted<D: Deliver>(members: Vec<Member<D>>) -> Vec<Member<D>> {
    let mut permitted = Vec::with_capacity(members.len());
    for member in members.into_iter().filter(|member| !member.reply.is_closed()) {
        match (&member.failed, &member.entry.permit) {
            (Some((last, all)), Some(permit)) if permit.request(last).await.is_err() => {
                let all = all.clone();
                member.end(Err(all));
            }
            _ => permitted.push(member),
        }
    }
    permitted
}

/// Gives each caller its result. Returns those whose items are to be sent again.
fn finish<D: Deliver>(members: Vec<Member<D>>, results: Vec<Result<D::Response, Error>>) -> Vec<Member<D>> {
    let is_alone = members.len() == 1;
    let mut again = Vec::new();
    for (mut member, result) in members.into_iter().zip(results) {
        match result {
            Err(error) if !is_alone && is_of_request(&error) => {
                member.failed = Some((error.clone(), member.all(error)));
                again.push(member);
            }
            result => {
                let result = result.map_err(|error| member.all(error));
                member.end(result);
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
