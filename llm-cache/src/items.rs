//! Operations that can be divided: each item is a question of its own.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use llm_core::{
    Broadcast, Call, Cause, Charge, Claim, Complete, End, Error, ErrorKind, Facts, Operation, Origin, Output, Priority,
    Purpose, Reader, Receipt, Reply, Serves, Shared, Usage, Usd, drive,
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::{
    CacheStatus, Directive, Key, Miss, Stale, Tag,
    flight::{Boarding, Guard, Once, Pass, Seat, Start, arrival},
    inner::{Claimed, Found, Inner, Stored},
    key::{Frame, Keys},
    refresh::{claim, start, unattended},
    service::saved,
    store::{Lease, Outcome},
    upstream::{Arrival, Errand, Landed, in_time, lost, outcome, patience, storing, unanswered},
};

/// Answers a request item by item, in time.
pub(crate) async fn by_item<T, S>(errand: Errand<S>, call: Call<T>, parts: Vec<T>) -> Result<Reply<T::Output>, Error>
where
    T: Operation,
    S: Serves<T>,
{
    in_time(call.deadline, gather(errand, call, parts)).await
}

/// Answers a request item by item: known items from the store, items that are being asked right now from those calls,
/// the rest with one call.
async fn gather<T, S>(errand: Errand<S>, call: Call<T>, parts: Vec<T>) -> Result<Reply<T::Output>, Error>
where
    T: Operation,
    S: Serves<T>,
{
    let (cache, directive) = (Arc::clone(&errand.cache), errand.directive.clone());
    let items = Items::new(&cache, &call, &directive, parts);
    let (mut found, aging) = known::<Complete<T>>(&cache, &directive, &items.keys).await;
    refresh(&errand, &call, &items, &aging);
    let missing: Vec<usize> = (0..found.len()).filter(|at| found[*at].is_none()).collect();
    if !missing.is_empty() && directive.only_if_cached {
        return Err(unanswered());
    }
    let boardings = board(&errand, &call, &items, &missing);
    let landings =
        boardings.into_iter().map(|boarding| Box::pin(land::<T>(cache.clone(), boarding)) as Start<_>).collect();
    for (at, item) in missing.iter().zip(all(landings).await) {
        found[*at] = Some(item?);
    }
    let found: Vec<_> = found.into_iter().map(|item| item.expect("each item was known or bought")).collect();
    let answers = items.places.iter().map(|at| found[*at].answer.as_ref().clone()).collect();
    let whole = call.body.unite(answers)?;
    let reply = Reply::new(T::Output::replay(Arc::new(whole), None), Receipt::new(sum(&found)));
    Ok(count(&cache, reply, &missing))
}

/// The different items of a request, and where each stands in it.
pub(crate) struct Items<T> {
    pub(crate) parts: Vec<T>,
    pub(crate) keys: Vec<Keys>,
    /// For each place in the request, its item.
    pub(crate) places: Vec<usize>,
}

/// The answer to one item.
struct Item<C> {
    answer: Arc<C>,
    facts: Facts,
}

impl<T: Operation> Items<T> {
    pub(crate) fn new(cache: &Inner, call: &Call<T>, directive: &Directive, parts: Vec<T>) -> Self {
        let frame = Frame::of(&cache.namespace, call, directive);
        let mut items = Self { parts: Vec::new(), keys: Vec::new(), places: Vec::new() };
        let mut known = HashMap::new();
        for part in parts {
            let keys = cache.keys(&frame, &part);
            let at = *known.entry(keys.answer.clone()).or_insert(items.keys.len());
            if at == items.keys.len() {
                items.keys.push(keys);
                items.parts.push(part);
            }
            items.places.push(at);
        }
        items
    }
}

/// The stored answers among those to some items, and which of them are to be replaced.
async fn known<C>(cache: &Inner, directive: &Directive, keys: &[Keys]) -> (Vec<Option<Item<C>>>, Vec<usize>)
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    if directive.no_cache {
        return (keys.iter().map(|_| None).collect(), Vec::new());
    }
    let found = cache.look(&answers(keys), directive).await;
    let is_aging = |at: &usize| matches!(found[*at], Found::Stale(_, Stale::Refreshing));
    let aging = (0..found.len()).filter(is_aging).collect();
    let item = |found| match found {
        Found::Fresh(stored) | Found::Stale(stored, _) => Some(stored_item(cache, stored)),
        Found::Spare(_) | Found::TooOld | Found::Nothing => None,
    };
    (found.into_iter().map(item).collect(), aging)
}

pub(crate) fn answers(keys: &[Keys]) -> Vec<Key> {
    keys.iter().map(|keys| keys.answer.clone()).collect()
}

/// Replaces the answers to some items, with one call in the background.
fn refresh<T: Operation, S: Serves<T>>(errand: &Errand<S>, call: &Call<T>, items: &Items<T>, aging: &[usize]) {
    let Some(background) = errand.cache.background.as_ref().filter(|_| !aging.is_empty()) else { return };
    let cache = Arc::clone(&errand.cache);
    let idle = aging.iter().map(|at| &items.keys[*at].flight).filter(|key| !cache.flights.is_running(key));
    let Some(place) = claim(&cache, background.place(idle.cloned().collect())) else { return };
    let is_claimed = |at: &&usize| place.keys().contains(&items.keys[**at].flight);
    let aging: Vec<usize> = aging.iter().filter(is_claimed).copied().collect();
    let errand = Errand { directive: errand.directive.renewing(), ..errand.clone() };
    let boardings = board(&errand, &unattended(call, Purpose::Refresh), items, &aging);
    cache.counts.refreshed.one();
    let landings = boardings.into_iter().map(|boarding| Box::pin(land::<T>(cache.clone(), boarding)) as Start<_>);
    let landings = landings.collect();
    start(&errand.cache, place, async move {
        let items: Result<Vec<_>, Error> = all(landings).await.into_iter().collect();
        items.map(drop)
    });
}

fn stored_item<C>(cache: &Inner, stored: Stored<C>) -> Item<C> {
    let origin = Origin::Cache { tier: stored.entry.tier, age: stored.entry.age(cache.now()) };
    Item { facts: saved(&stored.entry, origin), answer: stored.answer }
}

/// Has the missing items brought: by calls that run, or by one that asks for all the others together.
fn board<T, S>(errand: &Errand<S>, call: &Call<T>, items: &Items<T>, missing: &[usize]) -> Vec<Boarding<Landed<T>>>
where
    T: Operation,
    S: Serves<T>,
{
    let source = errand.cache.begin(Tag::of(call, &errand.directive));
    let keys: Vec<Keys> = missing.iter().map(|at| items.keys[*at].clone()).collect();
    let start = |places: Vec<usize>, guards: Vec<Guard>| {
        let Errand { cache, inner, directive } = errand;
        let parts: Vec<T> = places.iter().map(|at| items.parts[missing[*at]].clone()).collect();
        let stores = places
            .iter()
            .map(|at| storing::<T>(cache, keys[*at].answer.clone(), call, directive, source.clone()))
            .collect();
        let together = Together { parts, keys: places.iter().map(|at| keys[*at].clone()).collect(), guards, stores };
        let (cache, directive) = (Arc::clone(cache), directive.clone());
        share_out(together.ask(cache, directive, inner.clone(), call.clone()), places.len())
    };
    if errand.directive.no_cache {
        // A call of its own, whatever is running.
        let starts = start((0..keys.len()).collect(), Vec::new());
        let alone = |call| Seat::alone(call).map(|seat| Boarding { seat, led: true });
        return starts.into_iter().filter_map(alone).collect();
    }
    let calls = |guards: Vec<(usize, Guard)>| {
        let (places, guards) = guards.into_iter().unzip();
        start(places, guards)
    };
    let cache = &errand.cache;
    let joins = |begun| cache.allows(&source, begun);
    let pass = Pass { priority: call.priority, begun: source.begun, joins: &joins };
    let flights: Vec<Key> = keys.iter().map(|keys| keys.flight.clone()).collect();
    cache.flights.board_all(&flights, &pass, calls)
}

/// Several items that are asked for with one call.
struct Together<T, F> {
    parts: Vec<T>,
    keys: Vec<Keys>,
    guards: Vec<Guard>,
    stores: Vec<F>,
}

impl<T, F> Together<T, F>
where
    T: Operation,
    F: FnOnce(End<'_, Complete<T>>, &Receipt) + Send + 'static,
{
    /// Looks for those that have been stored meanwhile, asks for the others, stores each answer, and only then lets the
    /// items leave the table of running calls. Items that another process asks for are waited for at last, one by one:
    /// whoever waits holds no lease that others wait for.
    async fn ask<S: Serves<T>>(
        self,
        cache: Arc<Inner>,
        directive: Directive,
        inner: S,
        call: Call<T>,
    ) -> Result<Vec<Arrival<Complete<T>>>, Error> {
        let Self { parts, keys, guards, stores } = self;
        let until = patience(call.deadline);
        let claims = match directive.no_cache {
            true => keys.iter().map(|_| Claimed::Lead(Lease::free())).collect(),
            false => claims(&cache, &keys, &directive, call.priority).await,
        };
        let mut arrivals: Vec<Option<Arrival<Complete<T>>>> = keys.iter().map(|_| None).collect();
        let mut stores: Vec<Option<F>> = stores.into_iter().map(Some).collect();
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
        loop {
            if let Some(leases) = next.take() {
                let missing = leases.iter().map(|(at, _)| parts[*at].clone()).collect();
                let bought = kept(leases, buy(missing, inner.clone(), call.clone())).await?;
                for ((at, lease), arrival) in bought {
                    if let Some(store) = stores[at].take() {
                        arrival.keep(store);
                    }
                    lease.end(Outcome::Over);
                    arrivals[at] = Some(arrival);
                }
            }
            let Some(at) = taken.next() else { break };
            match cache.claim(&keys[at], &directive, call.priority, until).await {
                Claimed::Stored(stored) => arrivals[at] = Some(Arrival::Stored(stored)),
                Claimed::Lead(lease) => next = Some(vec![(at, lease)]),
                Claimed::Taken => next = Some(vec![(at, Lease::free())]),
            }
        }
        drop(guards);
        arrivals.into_iter().map(|arrival| arrival.ok_or_else(lost)).collect()
    }
}

/// An item's place in the request, and the lease on asking for it.
type Leased = (usize, Lease);

/// What is stored of some items meanwhile, and who is to ask for the others. Nobody is waited for.
async fn claims<C>(cache: &Inner, keys: &[Keys], directive: &Directive, priority: Priority) -> Vec<Claimed<C>>
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
    for some in keys.chunks(CLAIMS) {
        let now = Instant::now();
        let claims = some.iter().map(|keys| Box::pin(cache.claim(keys, directive, priority, now)) as _).collect();
        claimed.extend(all(claims).await);
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
async fn buy<T, S>(parts: Vec<T>, inner: S, mut call: Call<T>) -> Result<Vec<Arrival<Complete<T>>>, Error>
where
    T: Operation,
    S: Serves<T>,
{
    // The deadline is one caller's; each minds his own.
    call.deadline = None;
    let gathered = T::gather(&parts).ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, format!("parts of one {:?} request cannot be asked together", T::NAME))
    })?;
    let weights: Vec<u64> = parts.iter().map(|part| part.estimate().input.max(1)).collect();
    call.body = gathered.clone();
    let reply = drive(inner, call).await?;
    let (receipt, limits) = (reply.receipt, reply.limits);
    let whole = match reply.output.share() {
        Shared::Whole(whole) => whole,
        Shared::Live(live) => live.wait().await?,
    };
    let answers = gathered.scatter(Arc::unwrap_or_clone(whole))?;
    let shares = split(&receipt.facts(), &weights);
    Ok(answers.into_iter().zip(shares).map(|(answer, facts)| Arrival::whole(answer, facts, limits.clone())).collect())
}

/// Splits what is known of a call among its items: exactly, by their estimated input.
pub(crate) fn split(facts: &Facts, weights: &[u64]) -> Vec<Facts> {
    let usages = facts.usage.map(|usage| usage.split(weights));
    let costs = facts.cost.map(|cost| cost.split(weights));
    let mut claims = facts.claim.as_ref().and_then(|claim| claim.split(weights)).unwrap_or_default().into_iter();
    (0..weights.len())
        .map(|at| {
            let mut share = Facts::default();
            share.copy_answer(facts);
            share.usage = usages.as_ref().map(|usages| usages[at]);
            share.cost = costs.as_ref().map(|costs| costs[at]);
            share.claim = claims.next();
            share
        })
        .collect()
}

/// One call whose answers go to several flights, one each.
fn share_out<C: Send + Sync + 'static>(
    call: impl Future<Output = Result<Vec<Arrival<C>>, Error>> + Send + 'static,
    shares: usize,
) -> Vec<Start<Result<Arrival<C>, Error>>> {
    let call = Broadcast::new(Once::new(Box::pin(call)));
    (0..shares)
        .filter_map(|at| {
            let mut seat: Reader<Once<Result<Vec<Arrival<C>>, Error>>> = call.read()?;
            Some(Box::pin(async move {
                let arrivals = arrival(&mut seat).await.ok_or_else(lost)??;
                arrivals.get(at).cloned().ok_or_else(lost)
            }) as Start<_>)
        })
        .collect()
}

/// One item's answer, and this call's share in what it cost.
async fn land<T: Operation>(cache: Arc<Inner>, boarding: Boarding<Landed<T>>) -> Result<Item<Complete<T>>, Error> {
    let Boarding { mut seat, led } = boarding;
    let (answer, receipt) = match seat.arrival().await.ok_or_else(lost)? {
        Ok(Arrival::Stored(stored)) => return Ok(stored_item(&cache, stored)),
        Ok(Arrival::Bought { answer, receipt, .. }) => (answer, receipt),
        Err(error) if led => return Err(error),
        // Whoever led it was charged.
        Err(error) => return Err(error.with_charge(Charge::None)),
    };
    let answer = match answer {
        Shared::Whole(whole) => whole,
        Shared::Live(live) => live.wait().await?,
    };
    let arrived = receipt.facts();
    let mut facts = Facts::default();
    facts.copy_answer(&arrived);
    facts.origin = if led { Origin::Vendor } else { Origin::Coalesced };
    // Whoever comes first makes the purchase his own; for the others the item is a saving.
    facts.claim = arrived.claim.as_ref().and_then(|claim| claim.split(&[1])).and_then(|mut own| own.pop());
    if let (Some(_), None, Some(cost)) = (&arrived.claim, &facts.claim, facts.cost) {
        facts.saved.add(Cause::Coalesced, cost);
    }
    Ok(Item { answer, facts })
}

/// What is known of an answer that is made of several.
fn sum<C>(items: &[Item<C>]) -> Facts {
    let mut facts = Facts::default();
    // Vendor and model are those of any item: they were asked in one request.
    if let Some(last) = items.last() {
        facts.copy_answer(&last.facts);
    }
    facts.usage = items.iter().map(|item| item.facts.usage).sum::<Option<Usage>>();
    facts.cost = items.iter().map(|item| item.facts.cost).sum::<Option<Usd>>();
    let claims: Vec<Claim> = items.iter().filter_map(|item| item.facts.claim.clone()).collect();
    facts.claim = (!claims.is_empty()).then(|| Claim::all(claims));
    for (cause, amount) in items.iter().flat_map(|item| item.facts.saved.iter()) {
        facts.saved.add(cause, amount);
    }
    let ages = items.iter().map(|item| match item.facts.origin {
        Origin::Cache { age, tier } => Some((age, tier)),
        _ => None,
    });
    facts.origin = match ages.collect::<Option<Vec<_>>>().map(|ages| ages.into_iter().max()) {
        Some(oldest) => {
            let (age, tier) = oldest.unwrap_or_default();
            Origin::Cache { tier, age }
        }
        None if items.iter().any(|item| item.facts.origin == Origin::Vendor) => Origin::Vendor,
        None => Origin::Coalesced,
    };
    facts
}

fn count<O>(cache: &Inner, mut reply: Reply<O>, missing: &[usize]) -> Reply<O> {
    cache.saved(Some(reply.receipt.saved()));
    match reply.receipt.origin() {
        Origin::Cache { .. } => cache.counts.hits.one(),
        Origin::Coalesced => drop(cache.coalesced()),
        _ => {
            cache.missed();
            reply.extensions.insert(CacheStatus::Miss(Miss::Items { asked: missing.len() as u64 }));
        }
    }
    reply
}

/// Waits for all of several futures, whichever comes first.
pub(crate) async fn all<V>(mut waiting: Vec<Pin<Box<dyn Future<Output = V> + Send + '_>>>) -> Vec<V> {
    let mut done: Vec<Option<V>> = waiting.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (future, done) in waiting.iter_mut().zip(&mut done) {
            if done.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
