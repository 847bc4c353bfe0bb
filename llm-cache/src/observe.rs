//! Calls that pass unchanged while the cache decides what it would have done.

use llm_core::{
    Call, Error, Operation, Receipt, Reply,
    layer::{Accounting, Complete, End, LlmService, oneshot},
};

use crate::{
    CacheStatus, Miss, ShadowStatus, Tag,
    flight::{Guard, Pass},
    inner::{Found, Inner},
    items::{Fate, Items, split, tell},
    upstream::{Errand, counting_failure, storing},
};

/// An answer that a cache would have bought: its place in the request, its call's name in the table, and who stores it.
struct Bought<F> {
    place: usize,
    guard: Option<Guard>,
    store: F,
}

/// Lets a call pass, stores its answer, and says what would have become of it.
pub(crate) async fn observe<T, S>(errand: Errand<S>, call: Call<T>) -> Result<Reply<T::Output>, Error>
where
    T: Operation,
    S: LlmService<T>,
{
    let Errand { cache, inner, directive, .. } = errand;
    let items = match call.body.parts().filter(|parts| parts.len() > 1) {
        Some(parts) => Items::new(&cache, &call, &directive, parts),
        None => {
            let keys = cache.keys(&cache.frame(&call, &directive), &call.body);
            Items { parts: vec![call.body.clone()], keys: vec![keys], places: vec![0] }
        }
    };
    let (found, cold) = items.look(&cache, &directive).await;
    let source = cache.begin(Tag::of(&call, &directive));
    // Refusals are remembered of whole questions.
    let whole = items.keys.first().filter(|_| items.places.len() == 1 && !directive.no_cache);
    let refusal = whole.filter(|_| !found[0].is_served()).and_then(|keys| cache.refusal(keys));
    let joins = cache.joins(&source);
    let pass = Pass { priority: call.priority, source: &source, joins: &joins };
    let place_of = items.first_places();
    let mut bought = Vec::new();
    for at in (0..found.len()).filter(|at| refusal.is_none() && !found[*at].is_served()) {
        let keys = &items.keys[at];
        let guard = cache.flights.enter(&keys.flight, &pass);
        if guard.is_some() || directive.no_cache {
            let place = place_of[at];
            let store = storing::<T>(&cache, keys.answer.clone(), &call, &directive, source.clone());
            bought.push(Bought { place, guard, store });
        }
    }
    let observed = match &refusal {
        Some(error) => ShadowStatus { status: CacheStatus::of_error(error), saves: None },
        None => decide(&cache, &found, bought.len(), cold),
    };
    let store = storing_each(&call.body, &items, bought);
    let mut reply = oneshot(inner, call).await;
    if let CacheStatus::Miss(_) = observed.status {
        reply = counting_failure(&cache.counts, reply);
    }
    if let (Err(error), Some(keys), None) = (&reply, whole, refusal) {
        cache.refuse(keys, error, source.clone());
    }
    let mut reply = reply?.on_end(store);
    reply.extensions.insert(CacheStatus::Miss(Miss::Observing));
    reply.extensions.insert(observed);
    Ok(reply)
}

/// What would have become of a call, counted as if it had: of the items that are not served, so many are bought.
fn decide<C>(cache: &Inner, found: &[Found<C>], bought: usize, cold: Miss) -> ShadowStatus {
    let served = || found.iter().filter_map(Found::served);
    let saves = served().filter_map(|(stored, _)| stored.entry.facts.cost).reduce(|a, b| a + b);
    cache.saved(saves);
    let mut fates: Vec<Fate> = served().map(|(stored, why)| Fate::stored(cache, &stored.entry, why)).collect();
    fates.extend(std::iter::repeat_n(Fate::Asked, bought));
    fates.resize(found.len(), Fate::Awaited);
    let status = tell(cache, &fates, cold);
    match status {
        CacheStatus::Miss(Miss::Items { asked: 0, .. }) => {}
        CacheStatus::Miss(Miss::NoCache) => cache.counts.bypassed.one(),
        CacheStatus::Miss(_) => cache.counts.misses.one(),
        _ => {}
    }
    ShadowStatus { status, saves }
}

/// Stores what a call brings, each item on its own.
fn storing_each<T: Operation, F>(
    question: &T,
    items: &Items<T>,
    mut bought: Vec<Bought<F>>,
) -> impl FnOnce(End<'_, Complete<T>>, &Receipt) + Send + 'static
where
    F: FnOnce(End<'_, Complete<T>>, &Receipt) + Send + 'static,
{
    let question = question.clone();
    let weights: Vec<u64> = items.places.iter().map(|at| items.parts[*at].estimate().input.max(1)).collect();
    move |end, receipt| {
        if let [_] = weights[..] {
            if let Some(Bought { store, guard, .. }) = bought.pop() {
                store(end, receipt);
                drop(guard);
            }
            return;
        }
        let End::Complete(whole) = end else { return };
        let Ok(answers) = question.split(whole.clone()) else { return };
        // The claim is the caller's.
        let mut facts = Accounting::default();
        facts.copy_response(&receipt.accounting());
        let shares = split(&facts, &weights);
        for Bought { place, guard, store } in bought {
            if let (Some(answer), Some(share)) = (answers.get(place), shares.get(place)) {
                store(End::Complete(answer), &Receipt::new(share.clone()));
            }
            drop(guard);
        }
    }
}
