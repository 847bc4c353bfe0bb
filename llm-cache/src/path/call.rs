//! The call of a leader: claim, send, store, release.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use futures_util::future::join_all;
use llm_core::{
    Call, Error, ErrorKind, Operation, Output, Priority, Receipt, Reply,
    layer::{Accounting, Complete, End, Extensions, LlmService, Shared, VendorLimits},
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{
    context::CallContext,
    items::Items,
    join_gate::JoinGate,
    lookup::{Claimed, Found, Stored},
    split::split,
};
use crate::{
    Directive, Key, Tag,
    failure::{lost, outcome},
    inner::{Inner, StoreOptions},
    key::CallKeys,
    path::single_flight::{Completion, Guard, Start},
    store::{Lease, MaxWait, Outcome, Provenance},
};

/// Result of a single flight: one item's response.
pub(super) type FlightResult<T> = Result<Sent<Complete<T>>, Error>;

/// Response to one item, for the leader and its waiters.
pub(super) enum Sent<C> {
    /// An entry that was stored meanwhile.
    Stored(Stored<C>),
    /// The response of the call.
    Shared(SharedReply<C>),
}

/// A response that several callers take, whole or still running.
pub(super) struct SharedReply<C> {
    pub(super) answer: Shared<C>,
    pub(super) receipt: Receipt,
    pub(super) limits: Option<Arc<VendorLimits>>,
    pub(super) extensions: Extensions,
}

/// The leader of one call, and the items that the call is for.
pub(super) struct Leader<T, S> {
    cx: CallContext<S>,
    call: Call<T>,
    /// The parts to send; none where the request is its own one item.
    parts: Vec<T>,
    keys: Vec<CallKeys>,
    guards: Vec<Option<Guard>>,
}

/// An item by its index, and the lease on calling for it.
type Leased = (usize, Lease);

impl<T: Operation, S> Leader<T, S> {
    /// Creates the leader of a call for these items, each with its place in the table of running calls.
    pub(super) fn new(cx: CallContext<S>, call: Call<T>, items: &Items<T>, led: Vec<(usize, Option<Guard>)>) -> Self {
        let keys = led.iter().map(|(at, _)| items.keys[*at].clone()).collect();
        let parts = match items.is_one() {
            true => Vec::new(),
            false => led.iter().map(|(at, _)| items.part(&call, *at).clone()).collect(),
        };
        Self { cx, call, parts, keys, guards: led.into_iter().map(|(_, guard)| guard).collect() }
    }

    /// Number of items.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

impl<T: Operation, S: LlmService<T>> Leader<T, S> {
    /// Claims the items, sends one call for those that no other process calls for, and stores each response before its
    /// item leaves the table of running calls. Items that another process calls for are awaited last, one by one, so that
    /// the leader waits while it holds no lease that others wait for. If a call fails, all items without a response fail.
    ///
    /// The call is sent without the caller's deadline if others can join it: each caller minds its own.
    pub(super) async fn run(mut self) -> Vec<FlightResult<T>> {
        let wait = max_wait(self.call.deadline);
        if !self.cx.directive.no_cache {
            self.call.deadline = None;
        }
        let mut results: Vec<Option<Sent<Complete<T>>>> = self.keys.iter().map(|_| None).collect();
        let (mut leased, mut taken) = (Vec::new(), Vec::new());
        let claims = claim_all(&self.cx.cache, &self.cx.directive, &self.keys, self.call.priority, wait).await;
        for (at, claim) in claims.into_iter().enumerate() {
            match claim {
                Claimed::Stored(stored) => results[at] = Some(Sent::Stored(stored)),
                Claimed::Lead(lease) => leased.push((at, lease)),
                // A leader of one item has waited for the other process already.
                Claimed::Taken if self.keys.len() == 1 => leased.push((at, Lease::free())),
                Claimed::Taken => taken.push(at),
            }
        }
        let mut next = Some(leased).filter(|leased| !leased.is_empty());
        let mut taken = taken.into_iter();
        let failed = loop {
            if let Some(leased) = next.take() {
                match self.send(leased).await {
                    Ok(sent) => sent.into_iter().for_each(|(at, reply)| results[at] = Some(Sent::Shared(reply))),
                    Err(error) => break Some(error),
                }
            }
            let Some(at) = taken.next() else { break None };
            match self.cx.cache.claim(&self.keys[at], &self.cx.directive, self.call.priority, wait).await {
                Claimed::Stored(stored) => results[at] = Some(Sent::Stored(stored)),
                Claimed::Lead(lease) => next = Some(vec![(at, lease)]),
                Claimed::Taken => next = Some(vec![(at, Lease::free())]),
            }
        };
        let error = || failed.clone().unwrap_or_else(lost);
        results.into_iter().map(|result| result.ok_or_else(error)).collect()
    }

    /// Sends one call for some items, by their leases.
    async fn send(&mut self, leased: Vec<Leased>) -> Result<Vec<(usize, SharedReply<Complete<T>>)>, Error> {
        // It starts now. What was invalidated while it waited for the leases does not concern it.
        let provenance = self.cx.cache.begin(Tag::of(&self.call, &self.cx.directive));
        let held: Vec<&Lease> = leased.iter().map(|(_, lease)| lease).collect();
        let at: Vec<usize> = leased.iter().map(|(at, _)| *at).collect();
        let replies = match Lease::all_during(&held, self.replies(&at)).await {
            Ok(replies) if replies.len() == leased.len() => Ok(replies),
            Ok(_) => Err(lost()),
            Err(error) => Err(error),
        };
        let replies = match replies {
            Ok(replies) => replies,
            Err(error) => {
                leased.into_iter().for_each(|(_, lease)| lease.end(outcome(&error)));
                if let ([keys], true) = (&self.keys[..], self.parts.is_empty() && !self.cx.directive.no_cache) {
                    self.cx.cache.remember_error(keys, &error, provenance);
                }
                return Err(error);
            }
        };
        let replies = leased.into_iter().zip(replies);
        Ok(replies.map(|((at, lease), reply)| (at, self.share(at, lease, reply, provenance.clone()))).collect())
    }

    /// Calls the service below, and returns one reply for each item.
    fn replies(&self, at: &[usize]) -> impl Future<Output = Result<Vec<Reply<T::Output>>, Error>> + Send + use<T, S> {
        let (cx, call) = (self.cx.clone(), self.call.clone());
        let parts: Option<Vec<T>> =
            (!self.parts.is_empty()).then(|| at.iter().map(|at| self.parts[*at].clone()).collect());
        async move {
            match parts {
                None => cx.send(call).await.map(|reply| vec![reply]),
                Some(parts) => send_merged(cx, call, parts).await,
            }
        }
    }

    /// Shares one item's reply among those who await it. When it ends, it is stored, its lease is released, and its item
    /// leaves the table of running calls.
    fn share(
        &mut self,
        at: usize,
        lease: Lease,
        reply: Reply<T::Output>,
        provenance: Provenance,
    ) -> SharedReply<Complete<T>> {
        let CallContext { cache, directive, .. } = &self.cx;
        let store = storing::<T>(cache, self.keys[at].answer.clone(), &self.call, directive, provenance);
        let renew = lease.renewer();
        let gate = Arc::new(JoinGate::new(self.guards[at].take()));
        let reply = reply.on_end({
            let gate = Arc::clone(&gate);
            move |end, receipt| {
                let outcome = if let End::Dropped(_) = end { Outcome::Left } else { Outcome::Over };
                store(end, receipt);
                lease.end(outcome);
                gate.close();
            }
        });
        let Reply { mut output, receipt, limits, extensions, .. } = reply;
        if let Some(renew) = renew {
            output = output.watch(move |_| {
                renew();
                std::future::ready(ControlFlow::Continue(()))
            });
        }
        let answer = output.watch(JoinGate::watcher(&gate, cache.max_answer_bytes)).share();
        if let Shared::Live(live) = &answer {
            gate.guards(live);
        }
        SharedReply { answer, receipt, limits, extensions }
    }
}

/// Looks once more for stored entries, and claims the other items. Only a leader of one item waits for another process.
async fn claim_all<C: DeserializeOwned + Send + Sync + 'static>(
    cache: &Inner,
    directive: &Directive,
    keys: &[CallKeys],
    priority: Priority,
    wait: MaxWait,
) -> Vec<Claimed<C>> {
    if directive.no_cache {
        return keys.iter().map(|_| Claimed::Lead(Lease::free())).collect();
    }
    if !cache.store.leases() {
        let claim = |found| match found {
            Found::Fresh(stored) => Claimed::Stored(stored),
            _ => Claimed::Lead(Lease::free()),
        };
        let answers: Vec<Key> = keys.iter().map(|keys| keys.answer.clone()).collect();
        return cache.look(&answers, directive).await.into_iter().map(claim).collect();
    }
    let mut claimed = Vec::with_capacity(keys.len());
    let wait = MaxWait { for_others: keys.len() == 1, ..wait };
    for some in keys.chunks(CLAIMS) {
        let claims = some.iter().map(|keys| cache.claim(keys, directive, priority, wait));
        claimed.extend(join_all(claims).await);
    }
    claimed
}

/// Sends one call for several parts, and returns one reply for each.
async fn send_merged<T, S>(cx: CallContext<S>, mut call: Call<T>, parts: Vec<T>) -> Result<Vec<Reply<T::Output>>, Error>
where
    T: Operation,
    S: LlmService<T>,
{
    let merged = T::merge(&parts).ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, format!("parts of one {:?} request cannot be asked together", T::NAME))
    })?;
    let weights: Vec<u64> = parts.iter().map(|part| part.estimate().input.max(1)).collect();
    call.body = merged.clone();
    let Reply { output, receipt, limits, mut extensions, .. } = cx.send(call).await?;
    let answers = merged.split(Arc::unwrap_or_clone(whole(output.share()).await?))?;
    let shares = split(&receipt.accounting(), &weights);
    let reply = |(answer, facts): (_, Accounting)| {
        let output = T::Output::replay(Arc::new(answer), facts.usage);
        let mut reply = Reply::new(output, Receipt::new(facts)).with_limits(limits.clone());
        // The leader has the call's first item too.
        reply.extensions = std::mem::take(&mut extensions);
        reply
    };
    Ok(answers.into_iter().zip(shares).map(reply).collect())
}

/// Number of items claimed at a time.
const CLAIMS: usize = 256;

/// Awaits a response to its end.
pub(super) async fn whole<C: 'static>(answer: Shared<C>) -> Result<Arc<C>, Error> {
    match answer {
        Shared::Whole(whole) => Ok(whole),
        Shared::Live(live) => live.wait().await,
    }
}

/// Returns the hook that stores a response, if it is complete and cacheable.
pub(super) fn storing<T: Operation>(
    cache: &Arc<Inner>,
    key: Key,
    call: &Call<T>,
    directive: &Directive,
    provenance: Provenance,
) -> impl FnOnce(End<'_, Complete<T>>, &Receipt) + Send + 'static {
    let (cache, ttl) = (Arc::clone(cache), cache.ttl(call, directive));
    let question = call.body.is_self_contained().then(|| call.body.clone());
    move |end, receipt| {
        if let (End::Complete(answer), Some(question)) = (end, question)
            && T::is_cacheable(answer)
            && question.conforms(answer)
        {
            // The accounting of the response, not of how one caller got it.
            let mut facts = Accounting::default();
            facts.copy_response(&receipt.accounting());
            if facts.fallback && !cache.cache_fallbacks {
                return;
            }
            let options = StoreOptions { ttl, memory_size: T::memory_size(answer), provenance };
            cache.store(key, Arc::new(answer.clone()), facts, options);
        }
    }
}

/// The longest that a call waits for the response to another process's call.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// Until when a call waits for another process: half of its time, so that the other half is left for its own call.
fn max_wait(deadline: Option<std::time::Instant>) -> MaxWait {
    let now = Instant::now();
    let half = deadline.map(|deadline| deadline.saturating_duration_since(now.into_std()) / 2);
    MaxWait { until: now + half.unwrap_or(MAX_WAIT).min(MAX_WAIT), for_others: true }
}

impl<C: Send + Sync + 'static> Completion for Result<Sent<C>, Error> {
    fn completion(self) -> Option<Start<()>> {
        match self {
            Ok(Sent::Shared(SharedReply { answer: Shared::Live(live), .. })) => Some(Box::pin(async move {
                // Callers that are still there get the error too.
                let _ = live.wait().await;
            })),
            _ => None,
        }
    }
}

impl<C> Clone for Sent<C> {
    fn clone(&self) -> Self {
        match self {
            Self::Stored(stored) => Self::Stored(stored.clone()),
            Self::Shared(SharedReply { answer, receipt, limits, extensions }) => Self::Shared(SharedReply {
                answer: answer.clone(),
                receipt: receipt.clone(),
                limits: limits.clone(),
                extensions: extensions.clone(),
            }),
        }
    }
}
