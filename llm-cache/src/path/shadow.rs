//! Shadow mode: calls are sent as they are while the cache reports what it would have done.

use llm_core::{
    Call, Error, Operation, Receipt, Reply,
    layer::{Accounting, Complete, End, LlmService, oneshot},
};

use super::{
    call::storing,
    context::{CallContext, count_failure},
    items::Items,
    lookup::Found,
    outcome::{ItemOutcome, record},
    split::split,
};
use crate::{
    CacheStatus, Miss, ShadowStatus, Tag,
    inner::Inner,
    path::single_flight::{Guard, JoinTerms},
};

/// An item that a cache would have sent a call for: its place in the request, its place in the table of running calls, and
/// the hook that stores its response.
struct Sent<F> {
    position: usize,
    guard: Option<Guard>,
    store: F,
}

/// Sends a call as it is, stores its response, and reports what the cache would have done.
pub(crate) async fn shadow<T, S>(
    cx: CallContext<S>,
    call: Call<T>,
    items: Items<T>,
    found: Vec<Found<Complete<T>>>,
) -> Result<Reply<T::Output>, Error>
where
    T: Operation,
    S: LlmService<T>,
{
    let CallContext { cache, service, directive, .. } = cx;
    let found = match directive.no_cache {
        true => found,
        false => cache.look_further(&items.answers(), &directive, found).await,
    };
    let miss = items.miss(&cache, &directive, &found);
    let provenance = cache.begin(Tag::of(&call, &directive));
    let negative_error = if found[0].is_served() { None } else { items.negative(&cache, &directive) };
    let joins = cache.joins(&provenance);
    let terms = JoinTerms { priority: call.priority, provenance: &provenance, joins: &joins };
    let position_of = items.first_positions();
    let mut sent = Vec::new();
    for at in (0..found.len()).filter(|at| negative_error.is_none() && !found[*at].is_served()) {
        let keys = &items.keys[at];
        let guard = cache.single_flights.enter(&keys.single_flight, &terms);
        if guard.is_some() || directive.no_cache {
            let position = position_of[at];
            let store = storing::<T>(&cache, keys.answer.clone(), &call, &directive, provenance.clone());
            sent.push(Sent { position, guard, store });
        }
    }
    let shadow_status = match &negative_error {
        Some(error) => ShadowStatus { status: CacheStatus::of_error(error), saves: None },
        None => decide(&cache, &found, sent.len(), miss),
    };
    let store = storing_each(&call, &items, sent);
    let mut reply = oneshot(service, call).await;
    if let CacheStatus::Miss(_) = shadow_status.status {
        reply = count_failure(&cache.counts, reply);
    }
    if let (Err(error), [keys], None, true) =
        (&reply, &items.keys[..], negative_error, items.is_one() && !directive.no_cache)
    {
        cache.remember_error(keys, error, provenance.clone());
    }
    let mut reply = reply?.on_end(store);
    reply.extensions.insert(CacheStatus::Miss(Miss::Shadow));
    reply.extensions.insert(shadow_status);
    Ok(reply)
}

/// Returns the status that a call would have had, and counts it. Of the items that are not served, `sent` would have been
/// sent.
fn decide<C>(cache: &Inner, found: &[Found<C>], sent: usize, miss: Miss) -> ShadowStatus {
    let served = || found.iter().filter_map(Found::served);
    let saves = served().filter_map(|(stored, _)| stored.entry.facts.cost).reduce(|a, b| a + b);
    cache.saved(saves);
    let mut items: Vec<_> = served().map(|(stored, why)| ItemOutcome::stored(cache, &stored.entry, why)).collect();
    items.extend(std::iter::repeat_n(ItemOutcome::Led, sent));
    items.resize(found.len(), ItemOutcome::Joined);
    let status = record(cache, items.into_iter(), miss);
    match status {
        CacheStatus::Miss(Miss::Items { asked: 0, .. }) => {}
        CacheStatus::Miss(Miss::NoCache) => cache.counts.bypassed.one(),
        CacheStatus::Miss(_) => cache.counts.misses.one(),
        _ => {}
    }
    ShadowStatus { status, saves }
}

/// Returns the hook that stores the response to each item.
fn storing_each<T: Operation, F>(
    call: &Call<T>,
    items: &Items<T>,
    mut sent: Vec<Sent<F>>,
) -> impl FnOnce(End<'_, Complete<T>>, &Receipt) + Send + 'static
where
    F: FnOnce(End<'_, Complete<T>>, &Receipt) + Send + 'static,
{
    let question = call.body.clone();
    let weights: Vec<u64> = items.positions.iter().map(|at| items.part(call, *at).estimate().input.max(1)).collect();
    move |end, receipt| {
        if let [_] = weights[..] {
            if let Some(Sent { store, guard, .. }) = sent.pop() {
                store(end, receipt);
                drop(guard);
            }
            return;
        }
        let End::Complete(whole) = end else { return };
        let Ok(answers) = question.split(whole.clone()) else { return };
        // The claim on the cost is the caller's.
        let mut facts = Accounting::default();
        facts.copy_response(&receipt.accounting());
        let shares = split(&facts, &weights);
        for Sent { position, guard, store } in sent {
            if let (Some(answer), Some(share)) = (answers.get(position), shares.get(position)) {
                store(End::Complete(answer), &Receipt::new(share.clone()));
            }
            drop(guard);
        }
    }
}
