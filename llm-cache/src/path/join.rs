//! Join or lead: awaits the results of running calls, and of the call that the request itself leads.

use std::{collections::HashMap, future::Future, sync::Arc};

use llm_core::{
    Charge, Error, Operation,
    layer::{CallDeadline, LlmService, Shared, SharedDeadline},
};

use super::{
    List,
    call::{FlightResult, Leader, Led, Sent},
    reply::Item,
    request::Request,
    single_flight::{Batch, JoinTerms, Joined, Start, await_all, lead_alone},
};
use crate::{
    Tag,
    failure::{is_of_other_call, lost},
};

/// Result for one item. `None` if the joined call failed because of its leader or of other items, so that the item must
/// be obtained again.
pub(super) type Obtained<O> = Option<Result<Item<O>, Error>>;

/// Obtains some items of a request: joins the calls that run for them, and leads one call for all others, which are in
/// the table of running calls when the function returns. The returned future awaits running responses to their ends,
/// except that of a request's only item (`is_only`). `lead` runs if this request leads a call.
pub(super) fn obtain<T, S, L>(
    request: &Arc<Request<T>>,
    service: &S,
    missing: &[usize],
    is_only: bool,
    lead: &mut L,
) -> impl Future<Output = List<Obtained<T::Output>>> + Send + use<T, S, L>
where
    T: Operation,
    S: LlmService<T>,
    L: FnMut(),
{
    let mut all = join_or_lead(request, service, missing);
    if all.iter().any(|one| one.led) {
        lead();
    }
    let cache = Arc::clone(&request.cache);
    async move {
        let results = await_all(&mut all).await;
        // Number of items of this request that take part in each call that another request leads.
        let mut joined: HashMap<Batch, usize> = HashMap::new();
        for one in all.iter().filter(|one| !one.led) {
            *joined.entry(one.batch).or_default() += 1;
        }
        let mut items = List::with_capacity(all.len());
        for (Joined { handle, led, batch }, result) in all.into_iter().zip(results) {
            let item = match result.unwrap_or_else(|| Err(lost())) {
                Ok(Sent::Stored(stored)) => Ok(Item::stored(stored, None)),
                Ok(Sent::Shared(shared)) => match &shared.response {
                    Shared::Whole(whole) => Ok(Item::whole(Arc::clone(whole), shared, led, is_only)),
                    // Boxed, so that complete responses do not carry the size of this future.
                    Shared::Live(_) => Box::pin(Item::running(shared, led, is_only, handle, Arc::clone(&cache))).await,
                },
                Err(error) => Err(error),
            };
            items.push(match item {
                Err(error) if !led && is_of_other_call(&error, batch, joined[&batch]) => None,
                // The leader's error reports the charge, so that of a waiter reports none.
                Err(error) if !led => Some(Err(error.with_charge(Charge::None))),
                item => Some(item),
            });
        }
        items
    }
}

/// Joins the calls that run for some items, and leads one call for all others. With `no_cache` it leads a call for all
/// items.
fn join_or_lead<T, S>(request: &Arc<Request<T>>, service: &S, missing: &[usize]) -> List<Joined<FlightResult<T>>>
where
    T: Operation,
    S: LlmService<T>,
{
    let Request { cache, directive, call, keys, .. } = &**request;
    let provenance = cache.entries.begin(Tag::of(call, directive));
    let lead = |led: List<Led>, deadline: Option<SharedDeadline>| -> Start<FlightResult<T>> {
        let (request, tags) = (Arc::clone(request), Arc::clone(&provenance.tags));
        let mut leader = Leader { request, service: service.clone(), tags, led, deadline };
        Box::pin(async move { Arc::new(leader.run().await) })
    };
    if directive.no_cache {
        return lead_alone(missing.len(), lead(missing.iter().map(|at| Led { at: *at, guard: None }).collect(), None));
    }
    let joins = cache.entries.joins(&provenance);
    let deadline = &CallDeadline::of(call);
    let terms = JoinTerms { priority: call.priority, deadline, provenance: &provenance, joins: &joins };
    let keys = missing.iter().map(|at| &keys[*at].single_flight);
    cache.single_flights.join_or_lead(keys, &terms, |guards, deadline| {
        let led = |(nth, guard): (usize, _)| Led { at: missing[nth], guard: Some(guard) };
        lead(guards.into_iter().map(led).collect(), deadline)
    })
}

#[cfg(test)]
mod tests {
    use llm_core::{Call, EmbedRequest, Embeddings, ErrorKind, Receipt, Reply, layer::oneshot};

    use super::*;
    use crate::{Cache, Cached, Directive};

    /// Embeds every text but the word "bad", which fails.
    async fn embed(call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        if call.body == EmbedRequest::new("m", ["bad"]) {
            return Err(Error::new(ErrorKind::InvalidRequest, "a bad text"));
        }
        let vectors = call.body.inputs.iter().map(|_| Arc::from([1.0].as_slice())).collect();
        Ok(Reply::new(Embeddings::new("m", vectors), Receipt::default()))
    }

    #[tokio::test]
    async fn single_flight_failure_leaves_stored_items() {
        let cache = Cache::builder("t").build().unwrap();
        let inner = tower::service_fn(embed);
        let call = |texts: &[&str]| Call::new("acme", EmbedRequest::new("m", texts.iter().copied()));
        oneshot(Cached::new(inner, cache.clone()), call(&["good"])).await.unwrap();

        let (cache, call, directive) = (Arc::clone(&cache.0), call(&["good", "bad"]), Directive::new());
        let items = call.body.items().unwrap();
        let request = Arc::new(Request::divided(cache, directive, call, items));
        let mut all = join_or_lead(&request, &inner, &[0, 1]);
        assert!(all.iter().all(|one| one.led && one.batch.items == 2));
        let results = await_all(&mut all).await.into_iter().map(Option::unwrap);
        let results = results.map(|result| result.map(|sent| matches!(sent, Sent::Stored(_))));
        let kinds: Vec<_> = results.map(|result| result.map_err(|error| error.kind())).collect();
        assert_eq!(kinds, [Ok(true), Err(ErrorKind::InvalidRequest)]);
    }
}
