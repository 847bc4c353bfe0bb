//! Shadow mode: calls are sent unchanged, and the cache reports what it would have done.
//!
//! The lookup, the negative cache and the table of running calls are used as in a call without shadow mode, so that the
//! reported status is the same. Only the reply differs, because it is always that of the call itself.

use std::{collections::HashMap, sync::Arc};

use llm_core::{
    Error, Operation, Receipt, Reply,
    layer::{Accounting, CallDeadline, Complete, End, LlmService, oneshot},
};

use super::{
    outcome::{ItemOutcome, record},
    request::{Request, send},
    single_flight::{Guard, JoinTerms},
};
use crate::{CacheStatus, Miss, ShadowStatus, Tag, entries::Found, inner::Inner, store::Provenance};

/// Index of an item for which the cache would have sent a call, and the guard that keeps it in the table of running
/// calls.
type Sent = (usize, Option<Guard>);

/// Sends a call unchanged, stores its response, and reports what the cache would have done. `found` has the results of
/// the lookup.
pub(super) async fn shadow<T, S>(
    request: &Arc<Request<T>>,
    service: S,
    found: &[Found<Complete<T>>],
) -> Result<Reply<T::Output>, Error>
where
    T: Operation,
    S: LlmService<T>,
{
    let Request { cache, directive, call, keys, counter, .. } = &**request;
    let miss = request.miss(found);
    let provenance = cache.entries.begin(Tag::of(call, directive));
    let negative_error = if found[0].is_served() { None } else { request.negative() };
    let joins = cache.entries.joins(&provenance);
    let deadline = &CallDeadline::default();
    let terms = JoinTerms { priority: call.priority, deadline, provenance: &provenance, joins: &joins };
    let mut sent = Vec::new();
    for at in (0..found.len()).filter(|at| negative_error.is_none() && !found[*at].is_served()) {
        let guard = cache.single_flights.enter(&keys[at].single_flight, &terms);
        if guard.is_some() || directive.no_cache {
            sent.push((at, guard));
        }
    }
    let observed = match &negative_error {
        Some(error) => ShadowStatus { status: CacheStatus::of_error(error), saves: None },
        None => decide(cache, found, sent.len(), miss),
    };
    // Only a call that the cache would have sent is counted.
    let reply = match sent.is_empty() {
        true => oneshot(service, call.clone()).await,
        false => send(&cache.counts, *counter, service, call.clone()).await,
    };
    if let (Err(error), None) = (&reply, negative_error) {
        request.remember(error, provenance.clone());
    }
    let (own, provenance) = (Arc::clone(request), provenance.clone());
    let mut reply = reply?.on_end(move |end, receipt| store_each(&own, sent, &provenance, &end, receipt));
    CacheStatus::Miss(Miss::Shadow).insert_into(&mut reply.extensions);
    reply.extensions.insert(observed);
    Ok(reply)
}

/// Returns the status that a call would have had, and counts it. `sent` is the number of items that would have been
/// sent.
fn decide<C>(cache: &Inner, found: &[Found<C>], sent: usize, miss: Miss) -> ShadowStatus {
    let served = || found.iter().filter_map(Found::served);
    let saves = served().filter_map(|(stored, _)| stored.entry.accounting.cost).reduce(|a, b| a + b);
    cache.saved(saves);
    let mut items: Vec<_> = served().map(|(stored, why)| ItemOutcome::stored(stored, why)).collect();
    items.extend(std::iter::repeat_n(ItemOutcome::Led, sent));
    items.resize(found.len(), ItemOutcome::Joined);
    ShadowStatus { status: record(cache, items.into_iter(), miss), saves }
}

/// Stores the response to each item for which the cache would have sent a call, unless the response is incomplete.
fn store_each<T: Operation>(
    request: &Request<T>,
    sent: Vec<Sent>,
    provenance: &Provenance,
    end: &End<'_, Complete<T>>,
    receipt: &Receipt,
) {
    let (End::Complete(whole), false) = (end, sent.is_empty()) else { return };
    let Request { call, positions, .. } = request;
    let store = |at, response: &Complete<T>, receipt: &Receipt| {
        request.store(at, provenance.clone(), response, || Arc::new(response.clone()), receipt);
    };
    if request.is_one() {
        return sent.into_iter().for_each(|(at, _guard)| store(at, whole, receipt));
    }
    let Ok(responses) = call.body.split(Complete::<T>::clone(whole)) else { return };
    let weights: Vec<u64> = positions.iter().map(|at| request.part(*at).estimate().input.max(1)).collect();
    // The entries get the accounting without the cost share, which the caller keeps.
    let mut accounting = Accounting::default();
    accounting.copy_response(&receipt.accounting());
    let mut sent: HashMap<usize, Option<Guard>> = sent.into_iter().collect();
    for ((at, response), share) in positions.iter().zip(responses).zip(accounting.split(&weights)) {
        if let Some(_guard) = sent.remove(at) {
            store(*at, &response, &Receipt::new(share));
        }
    }
}
