use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::future::join_all;
use llm_core::{
    Call, Charge, Error, Operation, Reply,
    layer::{Complete, LlmService, Purpose},
};

use super::{
    Fate, Items,
    item::{Item, unite},
    tell,
    together::board,
};
use crate::{
    Key, Stale,
    failure::{excuses, is_anothers, lost, unanswered},
    flight::{Batch, Boarding},
    inner::{Found, Inner, Stored},
    refresh::{claim, start, unattended},
    upstream::{Errand, Landed, by},
};

/// Answers a request item by item, in time: known items from the store, items that are being asked for right now from
/// those calls, the rest with one call.
pub(crate) async fn by_item<T, S>(errand: Errand<S>, call: Call<T>, parts: Vec<T>) -> Result<Reply<T::Output>, Error>
where
    T: Operation,
    S: LlmService<T>,
{
    let (cache, directive) = (Arc::clone(&errand.cache), errand.directive.clone());
    let items = Items::new(&cache, &call, &directive, parts);
    let (found, cold) = by(call.deadline, items.look(&cache, &directive)).await?;
    if directive.only_if_cached && !found.iter().all(Found::is_served) {
        return Err(unanswered());
    }
    if !directive.only_if_cached {
        let is_aging = |at: &usize| matches!(found[*at], Found::Stale(_, Stale::Revalidating));
        refresh(&errand, &call, &items, (0..found.len()).filter(is_aging).collect());
    }
    let mut known = Known::new(&cache, found);
    loop {
        let missing = known.missing();
        if missing.is_empty() {
            break;
        }
        let brought = by(call.deadline, bring(&errand, &call, &items, &missing)).await;
        let brought = brought.unwrap_or_else(|late| missing.iter().map(|_| Some(Err(late.clone()))).collect());
        known.take(&cache, missing, brought)?;
    }
    let found: Vec<_> = known.answers.into_iter().map(|item| item.expect("none is missing")).collect();
    let fates: Vec<Fate> = found.iter().map(|item| item.fate).collect();
    let spared = found.iter().map(|item| item.spared).sum();
    let mut reply = unite(&call.body, &items, found)?;
    cache.saved(Some(spared));
    reply.extensions.insert(tell(&cache, &fates, cold));
    Ok(reply)
}

/// What a call brought for an item; `None` if it failed because of what is not asked here, so that the item is to be
/// asked for again.
type Brought<C> = Option<Result<Item<C>, Error>>;

/// What is known of a request's items while some are asked for.
struct Known<C> {
    answers: Vec<Option<Item<C>>>,
    /// For the case that a call fails.
    spares: Vec<Option<Stored<C>>>,
}

impl<C: 'static> Known<C> {
    fn new(cache: &Inner, found: Vec<Found<C>>) -> Self {
        let sort = |found| match found {
            Found::Fresh(stored) => (Some(Item::stored(cache, stored, None)), None),
            Found::Stale(stored, why) => (Some(Item::stored(cache, stored, Some(why))), None),
            Found::Spare(stored) => (None, Some(stored)),
            Found::TooOld | Found::Gone | Found::Nothing => (None, None),
        };
        let (answers, spares) = found.into_iter().map(sort).unzip();
        Self { answers, spares }
    }

    fn missing(&self) -> Vec<usize> {
        (0..self.answers.len()).filter(|at| self.answers[*at].is_none()).collect()
    }

    /// Takes what was brought for the missing items. Where a call failed because of the vendor or a budget, an old answer
    /// is better than nothing.
    fn take(&mut self, cache: &Inner, missing: Vec<usize>, brought: Vec<Brought<C>>) -> Result<(), Error> {
        let mut failed: Option<Error> = None;
        for (at, brought) in missing.into_iter().zip(brought) {
            let error = match brought {
                None => continue,
                Some(Ok(item)) => {
                    self.answers[at] = Some(item);
                    continue;
                }
                Some(Err(error)) => error,
            };
            match self.spares[at].take().filter(|spare| excuses(&error) && cache.holds(spare)) {
                Some(spare) => self.answers[at] = Some(Item::stored(cache, spare, Some(Stale::Error))),
                // One that was charged comes first.
                None => failed = failed.filter(|first| first.charge() != Charge::None).or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Replaces the answers to some items, with one call in the background.
fn refresh<T: Operation, S: LlmService<T>>(errand: &Errand<S>, call: &Call<T>, items: &Items<T>, aging: Vec<usize>) {
    let Some(background) = errand.cache.background.as_ref().filter(|_| !aging.is_empty()) else { return };
    let cache = &errand.cache;
    let idle = aging.iter().map(|at| &items.keys[*at]).filter(|keys| !cache.flights.is_running(&keys.flight));
    let idle = idle.map(|keys| keys.answer.clone()).collect();
    let Some(place) = claim(cache, background.place(idle)) else { return };
    let claimed: HashSet<&Key> = place.keys().iter().collect();
    let aging: Vec<usize> = aging.into_iter().filter(|at| claimed.contains(&items.keys[*at].answer)).collect();
    let errand = errand.clone().refreshing();
    let brought = bring(&errand, &unattended(call, Purpose::Revalidation), items, &aging);
    start(cache, place, async move {
        let items: Result<Vec<_>, Error> = brought.await.into_iter().flatten().collect();
        items.map(drop)
    });
}

/// Has some items brought: by calls that run, or by one that asks for all the others together. They are in the table of
/// running calls when this returns.
fn bring<T, S>(
    errand: &Errand<S>,
    call: &Call<T>,
    items: &Items<T>,
    missing: &[usize],
) -> impl Future<Output = Vec<Brought<Complete<T>>>> + Send + use<T, S>
where
    T: Operation,
    S: LlmService<T>,
{
    let boardings = board(errand, call, items, missing);
    let mut aboard: HashMap<Batch, usize> = HashMap::new();
    for boarding in &boardings {
        *aboard.entry(boarding.batch).or_default() += 1;
    }
    let land = |boarding: Boarding<Landed<T>>| {
        let aboard = aboard[&boarding.batch];
        land::<T>(Arc::clone(&errand.cache), boarding, aboard)
    };
    join_all(boardings.into_iter().map(land).collect::<Vec<_>>())
}

/// What a call brings for one of those `aboard` items that this request has in it.
async fn land<T: Operation>(cache: Arc<Inner>, boarding: Boarding<Landed<T>>, aboard: usize) -> Brought<Complete<T>> {
    let Boarding { mut seat, led, batch } = boarding;
    let landed = match seat.arrival().await.unwrap_or_else(|| Err(lost())) {
        Ok(arrival) => Item::bought(&cache, arrival, led).await,
        Err(error) => Err(error),
    };
    match landed {
        Err(error) if !led && is_anothers(&error, batch, aboard) => None,
        // Whoever led it was charged.
        Err(error) if !led => Some(Err(error.with_charge(Charge::None))),
        landed => Some(landed),
    }
}
