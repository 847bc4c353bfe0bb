//! Join or lead: how a request gets the results of running calls and of its own.

use std::{collections::HashMap, future::Future, sync::Arc};

use futures_util::future::join_all;
use llm_core::{
    Call, Charge, Error, Operation,
    layer::{Broadcast, LlmService},
};

use super::{
    call::{FlightResult, Leader, Sent},
    context::CallContext,
    items::Items,
    reply::Item,
};
use crate::{
    Tag,
    failure::{is_of_other_call, lost},
    inner::Inner,
    path::single_flight::{Batch, Guard, JoinTerms, Joined, Once, Start, WaiterHandle, result_of},
};

/// Result for one item; `None` if the call failed because of other items than these, so that the item is to be obtained
/// again.
pub(super) type Obtained<O> = Option<Result<Item<O>, Error>>;

/// Obtains some items of a request: joins the calls that run for them, and leads one call for all the others. They are in
/// the table of running calls when this returns. A response that is still running is awaited to its end, unless the caller
/// can take it as it comes (`live`).
pub(super) fn obtain<T, S>(
    cx: &CallContext<S>,
    call: &Call<T>,
    items: &Items<T>,
    missing: &[usize],
    live: bool,
) -> impl Future<Output = Vec<Obtained<T::Output>>> + Send + use<T, S>
where
    T: Operation,
    S: LlmService<T>,
{
    let all = join_or_lead(cx, call, items, missing);
    let mut joined: HashMap<Batch, usize> = HashMap::new();
    for one in &all {
        *joined.entry(one.batch).or_default() += 1;
    }
    let result = |one: Joined<FlightResult<T>>| {
        let joined = joined[&one.batch];
        await_result::<T>(Arc::clone(&cx.cache), one, joined, live)
    };
    join_all(all.into_iter().map(result).collect::<Vec<_>>())
}

/// Joins the calls that run for some items, and leads one for all the others; with `no_cache`, for all of them.
fn join_or_lead<T, S>(
    cx: &CallContext<S>,
    call: &Call<T>,
    items: &Items<T>,
    missing: &[usize],
) -> Vec<Joined<FlightResult<T>>>
where
    T: Operation,
    S: LlmService<T>,
{
    let provenance = cx.cache.begin(Tag::of(call, &cx.directive));
    let lead = |guards: Vec<(usize, Option<Guard>)>| {
        let led = guards.into_iter().map(|(at, guard)| (missing[at], guard)).collect();
        share_out(Leader::new(cx.clone(), call.clone(), items, led))
    };
    if cx.directive.no_cache {
        let starts = lead((0..missing.len()).map(|at| (at, None)).collect());
        let alone =
            |call| WaiterHandle::alone(call).map(|handle| Joined { handle, led: true, batch: Batch::default() });
        return starts.into_iter().filter_map(alone).collect();
    }
    let joins = cx.cache.joins(&provenance);
    let terms = JoinTerms { priority: call.priority, provenance: &provenance, joins: &joins };
    let single_flights: Vec<_> = missing.iter().map(|at| items.keys[*at].single_flight.clone()).collect();
    let lead = |guards: Vec<(usize, Guard)>| lead(guards.into_iter().map(|(at, guard)| (at, Some(guard))).collect());
    cx.cache.single_flights.join_or_lead(&single_flights, &terms, lead)
}

/// Returns one start for each item that the leader calls for.
fn share_out<T: Operation, S: LlmService<T>>(leader: Leader<T, S>) -> Vec<Start<FlightResult<T>>> {
    let count = leader.len();
    if count == 1 {
        return vec![Box::pin(async move { leader.run().await.pop().unwrap_or_else(|| Err(lost())) })];
    }
    // Each flight takes its own result out of the list, which is not copied for it.
    let call = Broadcast::new(Once::new(Box::pin(async move { Arc::new(leader.run().await) })));
    let start = |at| {
        let mut handle = call.subscribe()?;
        Some(Box::pin(async move {
            let results = result_of(&mut handle).await.ok_or_else(lost)?;
            results.get(at).cloned().unwrap_or_else(|| Err(lost()))
        }) as Start<_>)
    };
    (0..count).filter_map(start).collect()
}

/// Awaits the result of a call for one of those items of this request that take part in it, `joined` in number.
async fn await_result<T: Operation>(
    cache: Arc<Inner>,
    one: Joined<FlightResult<T>>,
    joined: usize,
    live: bool,
) -> Obtained<T::Output> {
    let Joined { mut handle, led, batch } = one;
    let item = match handle.result().await.unwrap_or_else(|| Err(lost())) {
        Ok(Sent::Stored(stored)) => Ok(Item::stored(&cache, stored, None)),
        Ok(Sent::Shared(shared)) if live => Item::live(shared, led, handle).await,
        Ok(Sent::Shared(shared)) => Item::whole(shared, led).await,
        Err(error) => Err(error),
    };
    match item {
        Err(error) if !led && is_of_other_call(&error, batch, joined) => None,
        // The leader was charged.
        Err(error) if !led => Some(Err(error.with_charge(Charge::None))),
        item => Some(item),
    }
}

#[cfg(test)]
mod tests {
    use llm_core::{EmbedRequest, Embeddings, ErrorKind, Receipt, Reply, layer::oneshot};

    use super::*;
    use crate::{Cache, Cached, Directive};

    /// Embeds anything but the word "bad".
    async fn embed(call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        if call.body == EmbedRequest::new("m", ["bad"]) {
            return Err(Error::new(ErrorKind::InvalidRequest, "a bad text"));
        }
        let vectors = call.body.inputs.iter().map(|_| Arc::from([1.0].as_slice())).collect();
        Ok(Reply::new(Embeddings::new("m", vectors), Receipt::default()))
    }

    #[tokio::test]
    async fn single_flight_serves_stored_items_despite_failed_call() {
        let cache = Cache::builder("t").build().unwrap();
        let inner = tower::service_fn(embed);
        let call = |texts: &[&str]| Call::new("acme", EmbedRequest::new("m", texts.iter().copied()));
        oneshot(Cached::new(inner, cache.clone()), call(&["good"])).await.unwrap();

        let (cache, call, directive) = (Arc::clone(&cache.0), call(&["good", "bad"]), Directive::new());
        let items = Items::divided(&cache, &call, &directive, call.body.items().unwrap());
        let cx = CallContext::new(cache, inner, directive);
        let all = join_or_lead(&cx, &call, &items, &[0, 1]);
        let mut results = Vec::new();
        for Joined { mut handle, led, batch } in all {
            assert!(led && batch.items == 2);
            results.push(handle.result().await.unwrap().map(|sent| matches!(sent, Sent::Stored(_))));
        }
        let kinds: Vec<_> = results.into_iter().map(|result| result.map_err(|error| error.kind())).collect();
        assert_eq!(kinds, [Ok(true), Err(ErrorKind::InvalidRequest)]);
    }
}
