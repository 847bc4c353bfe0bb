//! One call that asks for several items.

use std::{future::Future, sync::Arc};

use futures_util::future::join_all;
use llm_core::{
    Call, Error, ErrorKind, Operation, Output, Priority, Receipt,
    layer::{Broadcast, Complete, LlmService, Shared},
};
use serde::de::DeserializeOwned;

use super::{Items, item::split, request::answers};
use crate::{
    Directive, Key, Tag,
    failure::{lost, outcome},
    flight::{Batch, Boarding, Guard, Once, Pass, Seat, Start, arrival},
    inner::{Claimed, Found, Inner},
    key::Keys,
    store::{Lease, MaxWait, Outcome},
    upstream::{Arrival, Errand, Landed, patience, storing},
};

/// Has the missing items brought: by calls that run, or by one that asks for all the others together.
pub(super) fn board<T, S>(
    errand: &Errand<S>,
    call: &Call<T>,
    items: &Items<T>,
    missing: &[usize],
) -> Vec<Boarding<Landed<T>>>
where
    T: Operation,
    S: LlmService<T>,
{
    let source = errand.cache.begin(Tag::of(call, &errand.directive));
    let keys: Vec<Keys> = missing.iter().map(|at| items.keys[*at].clone()).collect();
    let start = |places: Vec<usize>, guards: Vec<Guard>| {
        let parts: Vec<T> = places.iter().map(|at| items.parts[missing[*at]].clone()).collect();
        let together = Together { parts, keys: places.iter().map(|at| keys[*at].clone()).collect(), guards };
        share_out(together.ask(errand.clone(), call.clone()), places.len())
    };
    if errand.directive.no_cache {
        // A call of its own, whatever is running.
        let starts = start((0..keys.len()).collect(), Vec::new());
        let alone = |call| Seat::alone(call).map(|seat| Boarding { seat, led: true, batch: Batch::default() });
        return starts.into_iter().filter_map(alone).collect();
    }
    let calls = |guards: Vec<(usize, Guard)>| {
        let (places, guards) = guards.into_iter().unzip();
        start(places, guards)
    };
    let cache = &errand.cache;
    let joins = cache.joins(&source);
    let pass = Pass { priority: call.priority, source: &source, joins: &joins };
    let flights: Vec<Key> = keys.iter().map(|keys| keys.flight.clone()).collect();
    cache.flights.board_all(&flights, &pass, calls)
}

/// Several items that are asked for with one call.
struct Together<T> {
    parts: Vec<T>,
    keys: Vec<Keys>,
    guards: Vec<Guard>,
}

impl<T: Operation> Together<T> {
    /// Looks for those that have been stored meanwhile, asks for the others, stores each answer, and only then lets the
    /// items leave the table of running calls. Items that another process asks for are waited for at last, one by one:
    /// whoever waits holds no lease that others wait for. If a call fails, all that is not there by then fails with it.
    async fn ask<S: LlmService<T>>(self, errand: Errand<S>, call: Call<T>) -> Vec<Landed<T>> {
        let Errand { cache, directive, .. } = &errand;
        let Self { parts, keys, guards } = self;
        let wait = patience(call.deadline);
        let claims = match directive.no_cache {
            true => keys.iter().map(|_| Claimed::Lead(Lease::free())).collect(),
            false => claims(cache, &keys, directive, call.priority, wait).await,
        };
        let mut arrivals: Vec<Option<Arrival<Complete<T>>>> = keys.iter().map(|_| None).collect();
        let (mut leases, mut taken) = (Vec::new(), Vec::new());
        for (at, claim) in claims.into_iter().enumerate() {
            match claim {
                Claimed::Stored(stored) => arrivals[at] = Some(Arrival::Stored(stored)),
                Claimed::Lead(lease) => leases.push((at, lease)),
                Claimed::Taken => taken.push(at),
            }
        }
        let mut next = Some(leases).filter(|leases| !leases.is_empty());
        let mut taken = taken.into_iter();
        let failed = loop {
            if let Some(leases) = next.take() {
                let source = cache.begin(Tag::of(&call, directive));
                let missing = leases.iter().map(|(at, _)| parts[*at].clone()).collect();
                let bought = match kept(leases, buy(missing, errand.clone(), call.clone())).await {
                    Ok(bought) => bought,
                    Err(error) => break error,
                };
                for ((at, lease), arrival) in bought {
                    arrival.keep(storing::<T>(cache, keys[at].answer.clone(), &call, directive, source.clone()));
                    lease.end(Outcome::Over);
                    arrivals[at] = Some(arrival);
                }
            }
            let Some(at) = taken.next() else { break lost() };
            match cache.claim(&keys[at], directive, call.priority, wait).await {
                Claimed::Stored(stored) => arrivals[at] = Some(Arrival::Stored(stored)),
                Claimed::Lead(lease) => next = Some(vec![(at, lease)]),
                Claimed::Taken => next = Some(vec![(at, Lease::free())]),
            }
        };
        drop(guards);
        arrivals.into_iter().map(|arrival| arrival.ok_or_else(|| failed.clone())).collect()
    }
}

/// An item's place in the request, and the lease on asking for it.
type Leased = (usize, Lease);

/// What is stored of some items meanwhile, and who is to ask for the others. No call of another process is waited for.
async fn claims<C>(
    cache: &Inner,
    keys: &[Keys],
    directive: &Directive,
    priority: Priority,
    wait: MaxWait,
) -> Vec<Claimed<C>>
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    if !cache.store.leases() {
        let claim = |found| match found {
            Found::Fresh(stored) => Claimed::Stored(stored),
            _ => Claimed::Lead(Lease::free()),
        };
        return cache.look(&answers(keys), directive).await.into_iter().map(claim).collect();
    }
    let mut claimed = Vec::with_capacity(keys.len());
    let wait = MaxWait { for_others: false, ..wait };
    for some in keys.chunks(CLAIMS) {
        let claims = some.iter().map(|keys| cache.claim(keys, directive, priority, wait));
        claimed.extend(join_all(claims).await);
    }
    claimed
}

/// How many items are claimed at a time.
const CLAIMS: usize = 256;

/// Makes a call for some items, by their leases; with each lease its item's answer.
async fn kept<V>(
    leases: Vec<Leased>,
    call: impl Future<Output = Result<Vec<V>, Error>>,
) -> Result<Vec<(Leased, V)>, Error> {
    let held: Vec<&Lease> = leases.iter().map(|(_, lease)| lease).collect();
    match Lease::all_during(&held, call).await {
        Ok(answers) if answers.len() == leases.len() => Ok(leases.into_iter().zip(answers).collect()),
        Ok(_) => Err(lost()),
        Err(error) => {
            leases.into_iter().for_each(|(_, lease)| lease.end(outcome(&error)));
            Err(error)
        }
    }
}

/// Asks for several items with one call.
async fn buy<T, S>(parts: Vec<T>, errand: Errand<S>, mut call: Call<T>) -> Result<Vec<Arrival<Complete<T>>>, Error>
where
    T: Operation,
    S: LlmService<T>,
{
    // The deadline is one caller's; each minds his own.
    call.deadline = None;
    let gathered = T::merge(&parts).ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, format!("parts of one {:?} request cannot be asked together", T::NAME))
    })?;
    let weights: Vec<u64> = parts.iter().map(|part| part.estimate().input.max(1)).collect();
    call.body = gathered.clone();
    let reply = errand.send(call).await?;
    let (receipt, limits, mut extensions) = (reply.receipt, reply.limits, reply.extensions);
    let whole = match reply.output.share() {
        Shared::Whole(whole) => whole,
        Shared::Live(live) => live.wait().await?,
    };
    let answers = gathered.split(Arc::unwrap_or_clone(whole))?;
    let shares = split(&receipt.accounting(), &weights);
    let arrival = |(answer, facts)| {
        let (answer, receipt) = (Shared::Whole(Arc::new(answer)), Receipt::new(facts));
        // Whoever led the call has its first item too.
        let extensions = std::mem::take(&mut extensions);
        Arrival::Bought { answer, receipt, limits: limits.clone(), extensions }
    };
    Ok(answers.into_iter().zip(shares).map(arrival).collect())
}

/// One call whose answers go to several flights, one each.
fn share_out<C: Send + Sync + 'static>(
    call: impl Future<Output = Vec<Result<Arrival<C>, Error>>> + Send + 'static,
    shares: usize,
) -> Vec<Start<Result<Arrival<C>, Error>>> {
    // Each flight takes its own answer out of the list, which is not copied for it.
    let call = Broadcast::new(Once::new(Box::pin(async move { Arc::new(call.await) })));
    (0..shares)
        .filter_map(|at| {
            let mut seat = call.read()?;
            Some(Box::pin(async move {
                let arrivals = arrival(&mut seat).await.ok_or_else(lost)?;
                arrivals.get(at).cloned().unwrap_or_else(|| Err(lost()))
            }) as Start<_>)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use llm_core::{EmbedRequest, Embeddings, Reply, layer::oneshot};

    use super::*;
    use crate::{Cache, Cached};

    /// Embeds anything but the word "bad".
    async fn embed(call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        if call.body == EmbedRequest::new("m", ["bad"]) {
            return Err(Error::new(ErrorKind::InvalidRequest, "a bad text"));
        }
        let vectors = call.body.inputs.iter().map(|_| Arc::from([1.0].as_slice())).collect();
        Ok(Reply::new(Embeddings::new("m", vectors), Receipt::default()))
    }

    #[tokio::test]
    async fn what_was_stored_meanwhile_is_brought_though_the_call_for_the_rest_fails() {
        let cache = Cache::builder("t").build().unwrap();
        let inner = tower::service_fn(embed);
        let call = |texts: &[&str]| Call::new("acme", EmbedRequest::new("m", texts.iter().copied()));
        oneshot(Cached::new(inner, cache.clone()), call(&["good"])).await.unwrap();

        let (cache, call, directive) = (Arc::clone(&cache.0), call(&["good", "bad"]), Directive::new());
        let items = Items::new(&cache, &call, &directive, call.body.parts().unwrap());
        let errand = Errand { cache, inner, directive, made: |counts| &counts.misses };
        let boardings = board(&errand, &call, &items, &[0, 1]);
        let mut landed = Vec::new();
        for Boarding { mut seat, led, batch } in boardings {
            assert!(led && batch.flights == 2);
            landed.push(seat.arrival().await.unwrap().map(|arrival| matches!(arrival, Arrival::Stored(_))));
        }
        let kinds: Vec<_> = landed.into_iter().map(|landed| landed.map_err(|error| error.kind())).collect();
        assert_eq!(kinds, [Ok(true), Err(ErrorKind::InvalidRequest)]);
    }
}
