use std::{
    sync::Arc,
    task::{Context, Poll},
};

use llm_core::{
    Call, Cause, Complete, End, Error, ErrorKind, Facts, Operation, Origin, Output, Receipt, Reply, Serves, Shared,
    VendorLimits, drive, future::ResponseFuture,
};
use tower_service::Service;

use crate::{
    Cache, Key,
    cache::Inner,
    flight::{Boarding, Landing, Seat, arrival},
    memory::Entry,
};

/// A service with a cache in front of it: see [`CacheLayer`](crate::CacheLayer).
///
/// Always ready: a hit needs nothing of the inner service. A call that must be made waits for its own clone of it.
/// Clones share the cache.
#[derive(Clone, Debug)]
pub struct Cached<S> {
    inner: S,
    cache: Cache,
}

impl<S> Cached<S> {
    /// Puts `cache` in front of `inner`.
    pub fn new(inner: S, cache: Cache) -> Self {
        Self { inner, cache }
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }
}

impl<T: Operation, S: Serves<T>> Service<Call<T>> for Cached<S> {
    type Response = Reply<T::Output>;
    type Error = Error;
    type Future = ResponseFuture<T::Output>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<T>) -> Self::Future {
        let cache = &self.cache.0;
        let found = Key::lend(&cache.namespace, &call.tenant, &call.body, |key| {
            cache.find::<Complete<T>>(key).ok_or_else(|| Key::copied(key))
        });
        match found {
            Ok((answer, entry)) => ResponseFuture::ready(Ok(hit(cache, answer, &entry))),
            Err(key) => ResponseFuture::waiting(fly(Arc::clone(cache), key, self.inner.clone(), call)),
        }
    }
}

/// What a call brings to all who wait for it: the answer, whole or still running, and what is known about it.
struct Arrival<C> {
    answer: Shared<C>,
    receipt: Receipt,
    limits: Option<Arc<VendorLimits>>,
}

type Landed<T> = Result<Arrival<Complete<T>>, Error>;

async fn fly<T, S>(cache: Arc<Inner>, key: Key, inner: S, call: Call<T>) -> Result<Reply<T::Output>, Error>
where
    T: Operation,
    S: Serves<T>,
{
    let look_again = || cache.find::<Complete<T>>(key.as_bytes());
    let boarding = cache.flights.board::<Landed<T>, _>(&key, look_again, |landing| {
        Box::pin(ask(Arc::clone(&cache), key.clone(), landing, inner, call))
    });
    let (seat, origin) = match boarding {
        Boarding::Found((answer, entry)) => return Ok(hit(&cache, answer, &entry)),
        Boarding::Led(seat) => (seat, cache.missed()),
        Boarding::Joined(seat) => (seat, cache.coalesced()),
    };
    land::<T>(seat, origin).await
}

/// Asks upstream, for everybody. The landing stays in the table until the answer has ended and is stored.
async fn ask<T, S>(cache: Arc<Inner>, key: Key, landing: Landing, inner: S, call: Call<T>) -> Landed<T>
where
    T: Operation,
    S: Serves<T>,
{
    let reply = drive(inner, call).await?.on_end(move |end, receipt| {
        if let End::Complete(answer) = end
            && T::keeps(answer)
        {
            cache.store(key, Arc::new(answer.clone()), stored(&receipt.facts()));
        }
        drop(landing);
    });
    Ok(Arrival { answer: reply.output.share(), receipt: reply.receipt, limits: reply.limits })
}

/// Takes one caller's own reply out of a shared one. The seat is held until that reply has ended, so that late callers
/// find the running answer, and it runs while anybody reads it.
async fn land<T: Operation>(mut seat: Seat<Landed<T>>, origin: Origin) -> Result<Reply<T::Output>, Error> {
    let lost = || Error::new(ErrorKind::Other, "the call panicked while another caller drove it");
    let Arrival { answer, receipt: shared, limits } = arrival(&mut seat).await.ok_or_else(lost)??;
    let output = match answer {
        Shared::Whole(whole) => T::Output::replay(whole, shared.usage()),
        live => T::Output::join(live).await?,
    };
    let mut facts = Facts::default();
    facts.copy_answer(&shared.facts());
    facts.origin = origin;
    let reply = Reply::new(output, Receipt::new(facts)).with_limits(limits);
    Ok(reply.on_end(move |end, receipt| {
        let ended = shared.facts();
        receipt.edit(|facts| {
            facts.copy_answer(&ended);
            if let End::Complete(_) = end {
                // All who were answered may claim the purchase; the first who is counted does.
                facts.claim = ended.claim;
            }
        });
        drop(seat);
    }))
}

fn hit<O: Output>(cache: &Inner, answer: Arc<O::Complete>, entry: &Entry) -> Reply<O> {
    let mut facts = entry.facts.clone();
    facts.origin = cache.hit(entry);
    if let Some(cost) = facts.cost {
        facts.saved.add(Cause::CacheHit, cost);
    }
    let usage = facts.usage;
    Reply::new(O::replay(answer, usage), Receipt::new(facts))
}

/// What an entry keeps of a receipt: what the answer is, not how one call came by it.
fn stored(facts: &Facts) -> Facts {
    let mut kept = Facts::default();
    kept.copy_answer(facts);
    kept
}

impl<C> Clone for Arrival<C> {
    fn clone(&self) -> Self {
        Self { answer: self.answer.clone(), receipt: self.receipt.clone(), limits: self.limits.clone() }
    }
}
