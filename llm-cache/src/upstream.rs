//! What happens when a call must be made.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use llm_core::{
    Call, Cause, Charge, Error, ErrorKind, Operation, Origin, Output, Receipt, Reply, Savings,
    layer::{Accounting, Complete, End, Extensions, LlmService, Shared, StreamCut, VendorLimits, oneshot},
};
use tokio::{runtime::Handle, time::timeout_at};

use crate::{
    CacheStatus, Directive, Key, Miss, Stale, Tag,
    counts::{Counter, Counts},
    door::Door,
    failure::{excuses, is_anothers, late, lost, outcome, unanswered},
    flight::{Boarding, Guard, Pass, Rest, Seat, Start},
    inner::{Claimed, Found, Inner, Stay, Stored},
    key::Keys,
    refresh::{audit, refresh},
    service::{hit, stale},
    store::{Lease, MaxWait, Outcome, Source},
    verification::Auditor,
};

/// Call context: the cache that the call went through, the service below, and the call's directive.
#[derive(Clone)]
pub(crate) struct Errand<S> {
    pub(crate) cache: Arc<Inner>,
    pub(crate) inner: S,
    pub(crate) directive: Directive,
    /// The counter of the calls that are made for it.
    pub(crate) made: Made,
}

/// One of a cache's counters.
pub(crate) type Made = fn(&Counts) -> &Counter;

impl<S> Errand<S> {
    /// Sends a call to the service below. Counts it, and counts it again if it fails.
    pub(crate) async fn send<T>(self, call: Call<T>) -> Result<Reply<T::Output>, Error>
    where
        T: Operation,
        S: LlmService<T>,
    {
        (self.made)(&self.cache.counts).one();
        let reply = oneshot(self.inner, call).await;
        counting_failure(&self.cache.counts, reply)
    }
}

/// Counts a failed call: at once, or when its stream breaks off.
pub(crate) fn counting_failure<O: Output>(
    counts: &Arc<Counts>,
    reply: Result<Reply<O>, Error>,
) -> Result<Reply<O>, Error> {
    let reply = reply.inspect_err(|_| counts.failed_calls.one())?;
    let counts = Arc::clone(counts);
    Ok(reply.on_end(move |end, _| counts.failed_calls.add(u64::from(matches!(end, End::Failed(..))))))
}

/// What a call brings to all who wait for it.
pub(crate) enum Arrival<C> {
    /// An answer that had been stored meanwhile.
    Stored(Stored<C>),
    /// An answer, whole or still running, and what is known about it.
    Bought { answer: Shared<C>, receipt: Receipt, limits: Option<Arc<VendorLimits>>, extensions: Extensions },
}

pub(crate) type Landed<T> = Result<Arrival<Complete<T>>, Error>;

/// Makes a call that the cache keeps out of.
pub(crate) async fn pass<T, S>(errand: Errand<S>, call: Call<T>) -> Result<Reply<T::Output>, Error>
where
    T: Operation,
    S: LlmService<T>,
{
    let mut reply = errand.send(call).await?;
    reply.extensions.insert(CacheStatus::Miss(Miss::NoStore));
    Ok(reply)
}

/// Answers a call for which there was nothing at hand to serve.
pub(crate) async fn seek<T, S>(
    errand: Errand<S>,
    keys: Keys,
    call: Call<T>,
    at_hand: Found<Complete<T>>,
) -> Result<Reply<T::Output>, Error>
where
    T: Operation,
    S: LlmService<T>,
{
    let Errand { cache, directive, .. } = &errand;
    let found = match cache.store.is_far() && !directive.no_cache {
        true => {
            let further = cache.look_further(std::slice::from_ref(&keys.answer), directive, vec![at_hand]);
            by(call.deadline, further).await?.pop().unwrap_or(Found::Nothing)
        }
        false => at_hand,
    };
    let (why, spare) = match found {
        Found::Fresh(stored) => {
            if cache.audit.as_ref().is_some_and(Auditor::draws) {
                audit(&errand, keys, &call, &stored);
            }
            return Ok(hit(&errand.cache, stored));
        }
        Found::Stale(stored, why) => {
            if why == Stale::Revalidating {
                refresh(&errand, keys, &call);
            }
            return Ok(stale(&errand.cache, stored, why));
        }
        _ if directive.only_if_cached => return Err(unanswered()),
        // In boxes of their own: a hit has no use for the room that a call takes.
        _ if directive.no_cache => return Box::pin(renew(errand, keys.answer, call)).await,
        found => (found.miss(cache.now()), found.spare()),
    };
    if let Some(error) = cache.refusal(&keys) {
        return Err(error);
    }
    Box::pin(fly(errand, keys, call, why, spare)).await
}

/// Makes a call of its own, whatever is stored or running, and stores the answer.
async fn renew<T, S>(errand: Errand<S>, key: Key, call: Call<T>) -> Result<Reply<T::Output>, Error>
where
    T: Operation,
    S: LlmService<T>,
{
    let Errand { cache, directive, .. } = &errand;
    let source = cache.begin(Tag::of(&call, directive));
    let store = storing::<T>(cache, key, &call, directive, source);
    let mut reply = errand.send(call).await?.on_end(store);
    reply.extensions.insert(CacheStatus::Miss(Miss::NoCache));
    Ok(reply)
}

/// Joins the call that is running for this question, or makes it. If it fails because of the vendor or a budget, or takes
/// too long, a `spare` answer is better than nothing, if it is still good.
async fn fly<T, S>(
    errand: Errand<S>,
    keys: Keys,
    call: Call<T>,
    why: Miss,
    spare: Option<Stored<Complete<T>>>,
) -> Result<Reply<T::Output>, Error>
where
    T: Operation,
    S: LlmService<T>,
{
    let cache = Arc::clone(&errand.cache);
    let reply = in_time(call.deadline, board(errand, keys, call, why)).await;
    match (reply, spare) {
        (Err(error), Some(spare)) if excuses(&error) && cache.holds(&spare) => Ok(stale(&cache, spare, Stale::Error)),
        (reply, _) => reply,
    }
}

/// Waits for a reply until one caller's deadline, and cuts it off there, as soon as anything more arrives.
pub(crate) async fn in_time<O: Output>(
    deadline: Option<Instant>,
    reply: impl Future<Output = Result<Reply<O>, Error>>,
) -> Result<Reply<O>, Error> {
    let reply = by(deadline, reply).await??;
    let Some(deadline) = deadline.map(tokio::time::Instant::from_std) else { return Ok(reply) };
    let on_time = move |_| match tokio::time::Instant::now() < deadline {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(StreamCut::Fail(late())),
    };
    Ok(reply.map(|output| output.watch(on_time)))
}

/// Waits for something until one caller's deadline.
pub(crate) async fn by<V>(deadline: Option<Instant>, something: impl Future<Output = V>) -> Result<V, Error> {
    match deadline {
        Some(_) if Handle::try_current().is_err() => {
            let message = "a deadline needs a tokio runtime: call it within one, such as that of #[tokio::main]";
            Err(Error::new(ErrorKind::Other, message).with_charge(Charge::None))
        }
        Some(deadline) => timeout_at(deadline.into(), something).await.map_err(|_| late()),
        None => Ok(something.await),
    }
}

async fn board<T, S>(errand: Errand<S>, keys: Keys, call: Call<T>, why: Miss) -> Result<Reply<T::Output>, Error>
where
    T: Operation,
    S: LlmService<T>,
{
    let cache = &errand.cache;
    loop {
        let source = cache.begin(Tag::of(&call, &errand.directive));
        let joins = cache.joins(&source);
        let pass = Pass { priority: call.priority, source: &source, joins: &joins };
        let Boarding { seat, led, batch } = cache.flights.board::<Landed<T>>(&keys.flight, &pass, |guard| {
            Box::pin(ask(errand.clone(), keys.clone(), guard, source.clone(), call.clone()))
        });
        match land::<T>(cache, seat, led, why).await {
            // That was about somebody else's call, not about the question.
            Err(error) if !led && is_anothers(&error, batch, 1) => continue,
            // Whoever led it was charged.
            Err(error) if !led => return Err(error.with_charge(Charge::None)),
            reply => return reply,
        }
    }
}

/// Asks upstream, for everybody, unless the answer has been stored meanwhile or another process brings it. The call stays
/// in the table until its answer has ended and is stored.
///
/// It goes up without its deadline: that is one caller's, and each caller minds his own.
pub(crate) async fn ask<T, S>(
    errand: Errand<S>,
    keys: Keys,
    guard: Guard,
    source: Source,
    mut call: Call<T>,
) -> Landed<T>
where
    T: Operation,
    S: LlmService<T>,
{
    let (cache, directive) = (Arc::clone(&errand.cache), &errand.directive);
    let wait = patience(call.deadline.take());
    let lease = match cache.claim::<Complete<T>>(&keys, directive, call.priority, wait).await {
        Claimed::Stored(stored) => return Ok(Arrival::Stored(stored)),
        Claimed::Lead(lease) => lease,
        Claimed::Taken => Lease::free(),
    };
    // It begins now. What was invalidated while it waited for the lease does not concern it.
    let source = cache.begin(source.tags);
    let store = storing::<T>(&cache, keys.answer.clone(), &call, directive, source.clone());
    let reply = match lease.during(errand.send(call)).await {
        Ok(reply) => reply,
        Err(error) => {
            lease.end(outcome(&error));
            cache.refuse(&keys, &error, source);
            return Err(error);
        }
    };
    let keeper = lease.keeper();
    let door = Arc::new(Door::new(guard));
    let reply = reply.on_end({
        let door = Arc::clone(&door);
        move |end, receipt| {
            let outcome = if let End::Dropped(_) = end { Outcome::Left } else { Outcome::Over };
            store(end, receipt);
            lease.end(outcome);
            door.shut();
        }
    });
    let Reply { mut output, receipt, limits, extensions, .. } = reply;
    if let Some(keep) = keeper {
        output = output.watch(move |_| {
            keep();
            ControlFlow::Continue(())
        });
    }
    let answer = output.watch(Door::watcher(&door, cache.max_answer_bytes)).share();
    if let Shared::Live(live) = &answer {
        door.leads_to(live);
    }
    Ok(Arrival::Bought { answer, receipt, limits, extensions })
}

/// Takes one caller's own reply out of a shared one. The seat is held until that reply has ended, so that late callers
/// find the running answer, and it runs while anybody reads it.
async fn land<T: Operation>(
    cache: &Arc<Inner>,
    mut seat: Seat<Landed<T>>,
    led: bool,
    why: Miss,
) -> Result<Reply<T::Output>, Error> {
    let (answer, shared, limits, extensions) = match seat.arrival().await.ok_or_else(lost)?? {
        Arrival::Stored(stored) => return Ok(hit(cache, stored)),
        Arrival::Bought { answer, receipt, limits, extensions } => (answer, receipt, limits, extensions),
    };
    let origin = if led { Origin::Vendor } else { cache.coalesced() };
    let output = match answer {
        Shared::Whole(whole) => T::Output::replay(whole, shared.usage()),
        live => T::Output::join(live).await?,
    };
    let (receipt, counted) = (Receipt::default(), Arc::clone(cache));
    receipt.edit(|facts| share(facts, &shared.accounting(), origin));
    let mut reply = Reply::new(output, receipt).with_limits(limits);
    if led {
        // What lower layers told is told on.
        reply.extensions = extensions;
    }
    reply.extensions.insert(if led { CacheStatus::Miss(why) } else { CacheStatus::Coalesced });
    Ok(reply.on_end(move |end, receipt| {
        // The last seat ends the call; only then are its facts final.
        drop(seat);
        let ended = shared.accounting();
        if let (false, End::Complete(_)) = (led, &end) {
            counted.saved(ended.cost);
        }
        receipt.edit(|facts| {
            share(facts, &ended, origin);
            if let End::Complete(_) = end {
                // All who were answered may claim the purchase; the first who is counted does.
                facts.cost_share = ended.cost_share;
            }
        });
    }))
}

/// What one caller's receipt says of a shared answer. Whoever led the call has what the layers below told him; for the
/// others an answer that cost them nothing and was bought by nobody above the last purchase is a saving.
fn share(facts: &mut Accounting, shared: &Accounting, origin: Origin) {
    facts.copy_response(shared);
    if origin == Origin::Vendor {
        (facts.origin, facts.paid, facts.saved) = (shared.origin, shared.paid.clone(), shared.saved);
        return;
    }
    facts.origin = origin;
    facts.saved = Savings::default();
    if let (None, Some(cost)) = (&shared.cost_share, shared.cost) {
        facts.saved.add(Cause::Coalesced, cost);
    }
}

/// Stores what a call brings, if it is whole and worth keeping.
pub(crate) fn storing<T: Operation>(
    cache: &Arc<Inner>,
    key: Key,
    call: &Call<T>,
    directive: &Directive,
    source: Source,
) -> impl FnOnce(End<'_, Complete<T>>, &Receipt) + Send + 'static {
    let (cache, ttl) = (Arc::clone(cache), cache.ttl(call, directive));
    let question = call.body.is_self_contained().then(|| call.body.clone());
    move |end, receipt| {
        if let (End::Complete(answer), Some(question)) = (end, question)
            && T::is_cacheable(answer)
            && question.conforms(answer)
        {
            // What the answer is, not how one call came by it.
            let mut facts = Accounting::default();
            facts.copy_response(&receipt.accounting());
            if facts.fallback && !cache.keep_fallbacks {
                return;
            }
            let stay = Stay { ttl, weight: T::weight(answer), source };
            cache.store(key, Arc::new(answer.clone()), facts, stay);
        }
    }
}

/// The longest that a call waits for the answer to another process's.
const MOST_PATIENCE: Duration = Duration::from_secs(600);

/// Until when a call waits for another process: half of its time, so that the other half is left for a call of its own.
pub(crate) fn patience(deadline: Option<Instant>) -> MaxWait {
    let now = tokio::time::Instant::now();
    let half = deadline.map(|deadline| deadline.saturating_duration_since(now.into_std()) / 2);
    MaxWait { until: now + half.unwrap_or(MOST_PATIENCE).min(MOST_PATIENCE), for_others: true }
}

impl<C> Arrival<C> {
    /// Hands a whole answer that was bought to whoever stores it.
    pub(crate) fn keep(&self, store: impl FnOnce(End<'_, C>, &Receipt)) {
        if let Self::Bought { answer: Shared::Whole(answer), receipt, .. } = self {
            store(End::Complete(answer), receipt);
        }
    }
}

impl<C: Send + Sync + 'static> Rest for Result<Arrival<C>, Error> {
    fn rest(self) -> Option<Start<()>> {
        match self {
            Ok(Arrival::Bought { answer: Shared::Live(live), .. }) => Some(Box::pin(async move {
                // Whoever is still there gets the error too.
                let _ = live.wait().await;
            })),
            _ => None,
        }
    }
}

impl<C> Clone for Arrival<C> {
    fn clone(&self) -> Self {
        match self {
            Self::Stored(stored) => Self::Stored(stored.clone()),
            Self::Bought { answer, receipt, limits, extensions } => Self::Bought {
                answer: answer.clone(),
                receipt: receipt.clone(),
                limits: limits.clone(),
                extensions: extensions.clone(),
            },
        }
    }
}
