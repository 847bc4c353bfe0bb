//! Call of a leader: claim, send, store, release.
//!
//! If another process is calling for an item, the leader waits for the response of that call, for at most half of the
//! time to the deadline. In a store without leases the claim is a second lookup, because a call that ended since the
//! first lookup has stored its response.

use std::{
    future::{Future, ready},
    ops::ControlFlow,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use futures_util::{
    TryFutureExt,
    future::{Either, join_all},
};
use llm_core::{
    Call, Error, Operation, Output, Receipt, Reply,
    layer::{
        CallDeadline, Complete, End, Extensions, LlmService, Members, Shared, SharedDeadline, VendorLimits, call_items,
    },
};
use smallvec::smallvec;
use tokio::time::Instant;

use super::{
    List,
    join_gate::JoinGate,
    request::{Count, Request, count_failure, send},
    single_flight::{Completion, Guard},
};
use crate::{
    Key, Tag,
    entries::{Claimed, Found, Stored},
    failure::{lost, outcome},
    observe::Counts,
    store::{Claimant, Lease, MaxWait, Outcome, Provenance},
};

/// Result of a call for one item.
pub(super) type FlightResult<T> = Result<Sent<Complete<T>>, Error>;

/// Response to one item, for the leader and its waiters.
#[derive(Clone)]
pub(super) enum Sent<C> {
    /// Entry that was stored since the lookup.
    Stored(Stored<C>),
    /// Response of the call.
    Shared(SharedReply<C>),
}

/// Reply that the leader and its waiters share.
#[derive(Clone)]
pub(super) struct SharedReply<C> {
    /// Response, complete or still running.
    pub(super) response: Shared<C>,
    /// Accounting of the call. It is final when the response has ended.
    pub(super) receipt: Receipt,
    /// Limits that the vendor reported with the response.
    pub(super) limits: Option<Arc<VendorLimits>>,
    /// Extensions of the reply, for the leader alone.
    pub(super) extensions: Extensions,
}

/// Leader of one call for some items of a request.
pub(super) struct Leader<T, S> {
    /// Request whose items the leader calls for.
    pub(super) request: Arc<Request<T>>,
    /// Service below the cache.
    pub(super) service: S,
    /// Tags of the responses.
    pub(super) tags: Arc<[Tag]>,
    /// Items that the leader calls for.
    pub(super) led: List<Led>,
    /// Shared deadline of all waiters; `None` if no other caller can join the call, or if the call is completed without
    /// waiters.
    pub(super) deadline: Option<SharedDeadline>,
}

/// Item that a leader calls for: its index in the request, and the guard that keeps it in the table of running calls.
pub(super) struct Led {
    pub(super) at: usize,
    pub(super) guard: Option<Guard>,
}

/// Index of an item among those of the leader, and the lease under which its call is sent.
type Leased = (usize, Lease);

impl<T: Operation, S: LlmService<T>> Leader<T, S> {
    /// Claims the items, sends one call for those that no other process calls for, and stores each response before the
    /// item is removed from the table of running calls. Items that another process calls for are awaited last, one by
    /// one, so that the leader holds no lease while it waits. If the call fails, all items without a response fail.
    pub(super) async fn run(&mut self) -> List<FlightResult<T>> {
        let Request { cache, call, .. } = &*self.request;
        let wait = cache.entries.store.leases().then(|| max_wait(CallDeadline::of(call).latest()));
        let mut results: List<Option<Sent<Complete<T>>>> = self.led.iter().map(|_| None).collect();
        let (mut leased, mut taken) = (List::new(), List::new());
        for (nth, claim) in claim_all(&self.request, &self.tags, &self.led, wait).await.into_iter().enumerate() {
            match claim {
                Claimed::Stored(stored) => results[nth] = Some(Sent::Stored(stored)),
                Claimed::Lead(lease) => leased.push((nth, lease)),
                // The leader of a single item has already waited for the other process during its claim.
                Claimed::Taken if self.led.len() == 1 => leased.push((nth, Lease::free())),
                Claimed::Taken => taken.push(nth),
            }
        }
        let mut taken = taken.into_iter();
        let failed = loop {
            if !leased.is_empty()
                && let Err(error) = self.send(std::mem::take(&mut leased), &mut results).await
            {
                break Some(error);
            }
            let (Some(nth), Some(wait)) = (taken.next(), wait) else { break None };
            match claim(&self.request, &self.tags, &self.led[nth], wait).await {
                Claimed::Stored(stored) => results[nth] = Some(Sent::Stored(stored)),
                Claimed::Lead(lease) => leased.push((nth, lease)),
                Claimed::Taken => leased.push((nth, Lease::free())),
            }
        };
        let error = || failed.clone().unwrap_or_else(lost);
        results.into_iter().map(|result| result.ok_or_else(error)).collect()
    }

    /// Sends one call for some items under their leases, and puts the responses into `results`.
    async fn send(&mut self, leased: List<Leased>, results: &mut [Option<Sent<Complete<T>>>]) -> Result<(), Error> {
        // The call begins now, so an invalidation during the wait for the leases does not affect its response.
        let provenance = self.request.cache.entries.begin(Arc::clone(&self.tags));
        let replies = {
            let replies = pin!(self.replies(&leased));
            Lease::all_during(leased.iter().map(|(_, lease)| lease), replies).await
        };
        let replies = replies.and_then(|replies| if replies.len() == leased.len() { Ok(replies) } else { Err(lost()) });
        let replies = match replies {
            Ok(replies) => replies,
            Err(error) => {
                leased.into_iter().for_each(|(_, lease)| lease.end(outcome(&error)));
                self.request.remember(&error, provenance);
                return Err(error);
            }
        };
        for ((nth, lease), reply) in leased.into_iter().zip(replies) {
            results[nth] = Some(Sent::Shared(self.share(nth, lease, reply, provenance.clone())));
        }
        Ok(())
    }

    /// Calls the service below, and returns one reply for each item.
    ///
    /// If other callers can join the call, it is sent with the shared deadline of its waiters. The deadline of a single
    /// caller ends only that caller's wait (see [`respond`](super::respond)).
    fn replies(
        &self,
        leased: &[Leased],
    ) -> impl Future<Output = Result<List<Reply<T::Output>>, Error>> + Send + use<T, S> {
        let Request { cache, directive, call, counter, .. } = &*self.request;
        let mut call = call.clone();
        if !directive.no_cache {
            call.deadline = None;
            let above = match &self.deadline {
                Some(deadline) => call.extensions.insert(deadline.clone()),
                None => call.extensions.remove(),
            };
            drop(above);
        }
        let (counts, service) = (&cache.counts, self.service.clone());
        match self.request.parts(leased.iter().map(|(nth, _)| self.led[*nth].at)) {
            None => Either::Left(send(counts, *counter, service, call).map_ok(|reply| smallvec![reply])),
            Some(parts) => {
                // The parts are no longer the merged request that the list of members describes.
                call.extensions.remove::<Members>();
                Either::Right(Box::pin(send_items(Arc::clone(counts), *counter, service, call, parts)))
            }
        }
    }

    /// Shares the reply to one item between the leader and its waiters. When the response ends, it is stored, its lease
    /// is released, and its item is removed from the table of running calls.
    fn share(
        &mut self,
        nth: usize,
        lease: Lease,
        reply: Reply<T::Output>,
        provenance: Provenance,
    ) -> SharedReply<Complete<T>> {
        let (request, at, guard) = (&self.request, self.led[nth].at, self.led[nth].guard.take());
        let Reply { output, receipt, limits, extensions, .. } = reply;
        let response = match output.into_whole() {
            Ok(whole) => {
                let whole = Arc::new(whole);
                request.store(at, provenance, &whole, || Arc::clone(&whole), &receipt);
                lease.end(Outcome::Over);
                drop(guard);
                Shared::Whole(whole)
            }
            Err(output) => share_running((Arc::clone(request), at, provenance), guard, lease, output, &receipt),
        };
        SharedReply { response, receipt, limits, extensions }
    }
}

/// Looks up the led items once more. If the store has leases (`wait` is set), claims the leases on the items without an
/// entry, and waits for the replies. Only a leader of one item also waits for the call of another process. With
/// `no_cache`, nothing is looked up or claimed.
async fn claim_all<T: Operation>(
    request: &Request<T>,
    tags: &[Tag],
    led: &[Led],
    wait: Option<MaxWait>,
) -> List<Claimed<Complete<T>>> {
    let Request { cache, directive, keys, .. } = request;
    if directive.no_cache {
        return led.iter().map(|_| Claimed::Lead(Lease::free())).collect();
    }
    let Some(wait) = wait else {
        let claim = |found| match found {
            Found::Served(stored, None) => Claimed::Stored(stored),
            _ => Claimed::Lead(Lease::free()),
        };
        let keys: List<&Key> = led.iter().map(|led| &keys[led.at].entry).collect();
        return cache.entries.look(&keys, directive).await.into_iter().map(claim).collect();
    };
    let wait = MaxWait { for_others: led.len() == 1, ..wait };
    let mut claimed = List::with_capacity(led.len());
    for some in led.chunks(CLAIMS) {
        let claims = join_all(some.iter().map(|one| claim(request, tags, one, wait)));
        claimed.extend(Box::pin(claims).await);
    }
    claimed
}

/// Claims the lease on the call for one item. The future is boxed, because most stores have no leases, and their calls
/// should not carry its size.
fn claim<'a, T: Operation>(
    request: &'a Request<T>,
    tags: &'a [Tag],
    led: &Led,
    wait: MaxWait,
) -> Pin<Box<dyn Future<Output = Claimed<Complete<T>>> + Send + 'a>> {
    let Request { cache, directive, call, keys, .. } = request;
    let claimant = Claimant { keys: &keys[led.at], tags, priority: call.priority, wait };
    Box::pin(cache.entries.claim(claimant, directive))
}

/// Shares a running response between the leader and its waiters. When the response ends, it is stored if it is
/// complete, its lease is released, and the join gate closes.
fn share_running<T: Operation>(
    (request, at, provenance): (Arc<Request<T>>, usize, Provenance),
    guard: Option<Guard>,
    lease: Lease,
    mut output: T::Output,
    receipt: &Receipt,
) -> Shared<Complete<T>> {
    let most = request.cache.entries.admission.max_bytes;
    let gate = Arc::new(JoinGate::new(guard));
    if let Some(renew) = lease.renewer() {
        output = output.watch(move |_| {
            renew();
            ready(ControlFlow::Continue(()))
        });
    }
    let (own, receipt) = (Arc::clone(&gate), receipt.clone());
    let output = output.on_end(move |end| {
        if let End::Complete(response) = end {
            request.store(at, provenance, response, || Arc::new(response.clone()), &receipt);
        }
        lease.end(if let End::Dropped(_) = end { Outcome::Left } else { Outcome::Over });
        own.close();
    });
    let response = output.watch(JoinGate::watcher(&gate, most)).share();
    if let Shared::Live(live) = &response {
        gate.guards(live);
    }
    response
}

/// Sends one call for several parts of a request, and returns one reply for each part.
async fn send_items<T, S>(
    counts: Arc<Counts>,
    counter: Count,
    service: S,
    call: Call<T>,
    parts: Vec<T>,
) -> Result<List<Reply<T::Output>>, Error>
where
    T: Operation,
    S: LlmService<T>,
{
    counter(&counts).one();
    let replies = call_items(service, call, parts).await.inspect_err(|_| counts.failed_calls.one())?;
    replies.into_iter().map(|reply| count_failure(Arc::clone(&counts), Ok(reply))).collect()
}

/// Largest number of items whose leases are claimed at the same time.
const CLAIMS: usize = 256;

/// Longest time that a call waits for the response to a call of another process.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// Returns the maximum wait of a call for another process: half of the time to its deadline, so that the other half is
/// left for a call of its own.
fn max_wait(deadline: Option<std::time::Instant>) -> MaxWait {
    let now = Instant::now();
    let half = deadline.map(|deadline| deadline.saturating_duration_since(now.into_std()) / 2);
    MaxWait { until: now + half.unwrap_or(MAX_WAIT).min(MAX_WAIT), for_others: true }
}

impl<C: Clone + Send + Sync + 'static> Completion for Result<Sent<C>, Error> {
    fn completion(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let Ok(Sent::Shared(SharedReply { response: Shared::Live(live), .. })) = self else { return None };
        let live = Arc::clone(live);
        Some(Box::pin(async move {
            // The error is ignored here, because all remaining callers get it from the response.
            let _ = live.wait().await;
        }))
    }
}
