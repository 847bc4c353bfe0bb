//! Path of a call, in this order: lookup, join or lead, await, reply.
//!
//! A request has one or more items. Each item is looked up, joined, claimed and stored on its own. The items that a
//! leader calls for are sent together. Revalidation, verification and calls with `no_cache` take the same path, with
//! other settings of their [`Request`].
//!
//! | step | where | result |
//! |---|---|---|
//! | look up | [`respond`], [`crate::entries`] | entries to serve, stale ones to keep for an error, the reason for a call |
//! | join or lead | [`join`], [`single_flight`] | items whose calls run already, and items that this request leads |
//! | claim | [`call`] | items that no other process calls for, if the store has leases |
//! | send | [`request`] | the counter of the call, and its failures |
//! | store, release | [`call`] | the entry, then the lease, then the place in the table of running calls |
//! | reply | [`reply`] | the receipt: paid, saved, cost share, and the status |
//!
//! The middle steps are a loop, because an item is obtained again if the joined call failed because of another caller.

mod background;
mod call;
mod join;
mod join_gate;
mod outcome;
mod reply;
mod request;
mod shadow;
pub(crate) mod single_flight;

use std::{
    future::{Future, ready},
    ops::ControlFlow,
    pin::pin,
    sync::Arc,
    time::Instant,
};

use llm_core::{
    Charge, Error, ErrorKind, Operation, Output, Reply,
    layer::{Complete, LlmService, StreamCut},
};
use tokio::{runtime::Handle, time::timeout_at};

use self::{
    background::{revalidate, verify},
    join::{Obtained, obtain},
    shadow::shadow,
};
pub(crate) use self::{
    reply::Item,
    request::{Request, bypass},
};
use crate::{
    Miss, Stale,
    entries::{Found, Stored},
    failure::{allows_stale, deadline_exceeded, not_cached},
    inner::Inner,
    list::List,
};

/// Responds to a request that cannot be served from the local tier at once. `found` has the results of the lookup in
/// that tier. `lead` is called when this caller leads a call, or in shadow mode when it is about to send one. No lock
/// is held while `lead` runs.
pub(crate) async fn respond<T, S>(
    request: Arc<Request<T>>,
    service: S,
    found: List<Found<Complete<T>>>,
    mut lead: impl FnMut(),
) -> Result<Reply<T::Output>, Error>
where
    T: Operation,
    S: LlmService<T>,
{
    let Request { cache, directive, call, .. } = &*request;
    let mut found = found;
    if !found.iter().all(Found::is_served) {
        // In shadow mode a slow lookup must not fail the call.
        let deadline = call.deadline.filter(|_| !cache.is_shadow);
        found = within(deadline, pin!(cache.entries.look_further(&request.entries(), directive, found))).await?;
    }
    if cache.is_shadow {
        lead();
        return Box::pin(shadow(&request, service, &found)).await;
    }
    verify(&request, &service, &found);
    revalidate(&request, &service, &found);
    if found.iter().all(Found::is_served) {
        return reply::make(&request, Known::new(found).into_items(), Miss::Unknown);
    }
    if directive.only_if_cached {
        return Err(not_cached());
    }
    if let Some(error) = request.negative() {
        return Err(error);
    }
    let miss = request.miss(&found);
    let mut known = Known::new(found);
    loop {
        let missing = known.missing();
        if missing.is_empty() {
            break;
        }
        let obtained = obtain(&request, &service, &missing, request.is_one(), &mut lead);
        let results = within(call.deadline, pin!(obtained)).await;
        let results = results.unwrap_or_else(|late| missing.iter().map(|_| Some(Err(late.clone()))).collect());
        known.take(cache, missing, results)?;
    }
    let reply = reply::make(&request, known.into_items(), miss)?;
    Ok(on_time(reply, call.deadline))
}

/// Ends a streamed reply with an error at the caller's deadline.
fn on_time<O: Output>(reply: Reply<O>, deadline: Option<Instant>) -> Reply<O> {
    let Some(deadline) = deadline.map(tokio::time::Instant::from_std) else { return reply };
    let on_time = move |_| {
        ready(match tokio::time::Instant::now() < deadline {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(StreamCut::Fail(deadline_exceeded())),
        })
    };
    reply.map(|output| output.watch(on_time))
}

/// Awaits a future until the caller's deadline. Returns an error if the deadline passes first, or if there is a
/// deadline but no tokio runtime.
async fn within<V>(deadline: Option<Instant>, something: impl Future<Output = V> + Unpin) -> Result<V, Error> {
    match deadline {
        Some(_) if Handle::try_current().is_err() => {
            let message = "a deadline needs a tokio runtime: call it within one, such as that of #[tokio::main]";
            Err(Error::new(ErrorKind::Other, message).with_charge(Charge::None))
        }
        // Boxed, so that calls without a deadline do not carry the size of a timer.
        Some(deadline) => Box::pin(timeout_at(deadline.into(), something)).await.map_err(|_| deadline_exceeded()),
        None => Ok(something.await),
    }
}

/// Items of a request, each of which is obtained or still missing.
struct Known<O: Output>(List<Obtainable<O>>);

/// Item that was obtained, or else the stale entry that is served if the item's call fails (`stale_if_error`), if there
/// is one.
type Obtainable<O> = Result<Item<O>, Option<Stored<<O as Output>::Complete>>>;

impl<O: Output> Known<O> {
    fn new(found: List<Found<O::Complete>>) -> Self {
        let item = |found| match found {
            Found::Served(stored, stale) => Ok(Item::stored(stored, stale)),
            Found::Missed(_, stale) => Err(stale),
        };
        Self(found.into_iter().map(item).collect())
    }

    fn missing(&self) -> List<usize> {
        (0..self.0.len()).filter(|at| self.0[*at].is_err()).collect()
    }

    fn into_items(self) -> List<Item<O>> {
        self.0.into_iter().map(|item| item.ok().expect("none is missing")).collect()
    }

    /// Takes the results for the missing items. If a call failed because of the vendor, a budget or the deadline, a
    /// stale entry is used in place of the error.
    fn take(&mut self, cache: &Inner, missing: List<usize>, results: List<Obtained<O>>) -> Result<(), Error> {
        let mut failed: Option<Error> = None;
        for (at, result) in missing.into_iter().zip(results) {
            let item = &mut self.0[at];
            let error = match result {
                None => continue,
                Some(Ok(obtained)) => {
                    *item = Ok(obtained);
                    continue;
                }
                Some(Err(error)) => error,
            };
            let is_valid = |stale: &Stored<_>| cache.entries.is_valid(&stale.entry.provenance);
            let stale = item.as_mut().err().and_then(Option::take);
            match stale.filter(|stale| allows_stale(&error) && is_valid(stale)) {
                Some(stale) => {
                    // The entry has become older while the call was awaited.
                    let age = stale.entry.age(cache.entries.now());
                    *item = Ok(Item::stored(Stored { age, ..stale }, Some(Stale::Error)));
                }
                // Of several errors, the first that may have been charged is returned, or else the last.
                None => failed = failed.filter(|first| first.charge() != Charge::None).or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }
}
