//! Replies, and the accounting on their receipts: the only place that writes paid and saved.

use std::sync::Arc;

use llm_core::{
    Cause, Error, Operation, Origin, Output, Receipt, Reply, Usage, Usd,
    layer::{Accounting, CostShare, End, Extensions, Shared, VendorLimits},
};

use super::{
    List,
    call::{Sent, SharedReply},
    items::Items,
    outcome::{self, ItemOutcome},
    request::Request,
    single_flight::WaiterHandle,
};
use crate::{Miss, Stale, entries::Stored, failure::lost, inner::Inner};

/// One item of a request, obtained.
pub(super) struct Item<O: Output> {
    answer: Answer<O>,
    facts: Accounting,
    outcome: ItemOutcome,
    /// Cost of what this cache saved the request; lower layers may have saved more.
    saved: Usd,
    limits: Option<Arc<VendorLimits>>,
    extensions: Extensions,
}

/// Finishes the caller's receipt when the response has ended, complete or not.
type Ended = Box<dyn FnOnce(bool, &Receipt, &Inner) + Send>;

/// A caller's hold on the call that brings a response.
type Hold<O> = WaiterHandle<Result<Sent<<O as Output>::Complete>, Error>>;

/// Response to an item.
enum Answer<O: Output> {
    Whole(Arc<O::Complete>),
    /// A response of the request's only item that may still run; `ended` finishes the caller's receipt.
    Live {
        output: O,
        ended: Ended,
    },
}

impl<O: Output> Item<O> {
    /// An item of an entry; `stale` says why the entry is served if it has expired.
    pub(super) fn stored(cache: &Inner, stored: Stored<O::Complete>, stale: Option<Stale>) -> Self {
        let age = stored.entry.age(cache.entries.now());
        let tier = stored.entry.tier;
        let outcome = ItemOutcome::Stored { tier, age, stale };
        let mut facts = stored.entry.facts.clone();
        facts.origin = Origin::Cache { tier, age };
        if let Some(cost) = facts.cost {
            facts.saved.add(Cause::CacheHit, cost);
        }
        let saved = stored.entry.facts.cost.unwrap_or_default();
        let answer = Answer::Whole(stored.answer);
        Self { answer, facts, outcome, saved, limits: None, extensions: Extensions::new() }
    }

    /// An item of a call's response, awaited to its end.
    pub(super) async fn whole(shared: SharedReply<O::Complete>, led: bool) -> Result<Self, Error> {
        let SharedReply { answer, receipt, limits, extensions } = shared;
        let answer = Answer::Whole(answer.whole().await?);
        let (shared, mut facts) = (receipt.accounting(), Accounting::default());
        // The first request takes the claim. For the others the item is a saving.
        let own = shared.cost_share.as_ref().and_then(|claim| claim.split(&[1])).and_then(|mut own| own.pop());
        let is_saved = own.is_none() && (shared.cost_share.is_some() || !led);
        write(&mut facts, &shared, led, is_saved);
        facts.cost_share = own;
        let saved = facts.cost.filter(|_| is_saved).unwrap_or_default();
        Ok(Self::sent(answer, facts, led, saved, limits, extensions))
    }

    /// The request's only item, of a call's response that may still run. The caller's hold on the call is kept until the
    /// caller's own reply has ended, so that later callers find the running response.
    pub(super) async fn live(shared: SharedReply<O::Complete>, led: bool, handle: Hold<O>) -> Result<Self, Error> {
        let SharedReply { answer, receipt, limits, extensions } = shared;
        let (shared, mut facts) = (receipt.accounting(), Accounting::default());
        write_live(&mut facts, &shared, led);
        if let Shared::Whole(whole) = answer {
            // Its call has ended, so that its accounting is final.
            let saved = facts.cost.filter(|_| !led).unwrap_or_default();
            facts.cost_share = shared.cost_share;
            return Ok(Self::sent(Answer::Whole(whole), facts, led, saved, limits, extensions));
        }
        let output = O::join(answer).await?;
        let ended = move |is_complete: bool, own: &Receipt, cache: &Inner| {
            // The last hold ends the call. Only then is its accounting final.
            drop(handle);
            let ended = receipt.accounting();
            if is_complete && !led {
                cache.saved(ended.cost);
            }
            own.edit(|facts| {
                write_live(facts, &ended, led);
                if is_complete {
                    // Each caller with a response may claim the cost; the first that is counted does.
                    facts.cost_share = ended.cost_share;
                }
            });
        };
        let answer = Answer::Live { output, ended: Box::new(ended) };
        Ok(Self::sent(answer, facts, led, Usd::ZERO, limits, extensions))
    }

    fn sent(
        answer: Answer<O>,
        facts: Accounting,
        led: bool,
        saved: Usd,
        limits: Option<Arc<VendorLimits>>,
        extensions: Extensions,
    ) -> Self {
        // The leader alone gets the extensions of lower layers.
        let (outcome, extensions) =
            if led { (ItemOutcome::Led, extensions) } else { (ItemOutcome::Joined, Extensions::new()) };
        Self { answer, facts, outcome, saved, limits, extensions }
    }

    /// The reply to a request of which this is the only item.
    fn into_reply(self, cache: &Arc<Inner>) -> Reply<O> {
        let Self { answer, facts, limits, extensions, .. } = self;
        let mut reply = match answer {
            Answer::Whole(whole) => {
                let usage = facts.usage;
                Reply::new(O::replay(whole, usage), Receipt::new(facts))
            }
            Answer::Live { output, ended } => {
                let cache = Arc::clone(cache);
                let ended = move |end: End<'_, _>, own: &Receipt| {
                    ended(matches!(end, End::Complete(_)), own, &cache);
                };
                Reply::new(output, Receipt::new(facts)).on_end(ended)
            }
        };
        reply.limits = limits;
        reply.extensions = extensions;
        reply
    }

    /// The response, if it is whole.
    pub(super) fn into_whole(self) -> Option<Arc<O::Complete>> {
        match self.answer {
            Answer::Whole(whole) => Some(whole),
            Answer::Live { .. } => None,
        }
    }
}

fn write_live(facts: &mut Accounting, shared: &Accounting, led: bool) {
    write(facts, shared, led, !led && shared.cost_share.is_none());
}

/// Writes one caller's accounting of a shared response. A leader has what the layers below report. For a waiter the
/// response is a saving, unless it has a claim on its cost.
fn write(facts: &mut Accounting, shared: &Accounting, led: bool, is_saved: bool) {
    facts.copy_response(shared);
    match led {
        true => (facts.origin, facts.paid, facts.saved) = (shared.origin, shared.paid.clone(), shared.saved),
        false => facts.origin = Origin::Coalesced,
    }
    if let (true, Some(cost)) = (is_saved, shared.cost) {
        facts.saved.add(Cause::Coalesced, cost);
    }
}

/// Makes the reply to a request of its items, and counts its outcome. `miss` is the reason for a call, if no item was
/// served.
pub(super) fn make<T: Operation>(
    request: &Request<T>,
    mut found: List<Item<T::Output>>,
    miss: Miss,
) -> Result<Reply<T::Output>, Error> {
    let Request { cache, call, items, .. } = request;
    let status = outcome::record(cache, found.iter().map(|item| item.outcome), miss);
    cache.saved(Some(found.iter().map(|item| item.saved).sum()));
    let one = if items.is_one() { found.pop() } else { None };
    let mut reply = match one {
        Some(one) => one.into_reply(cache),
        None => join(&call.body, items, found)?,
    };
    status.insert_into(&mut reply.extensions);
    Ok(reply)
}

/// Returns the reply of an entry that is served at once, and counts it.
pub(crate) fn from_entry<O: Output>(cache: &Arc<Inner>, stored: Stored<O::Complete>, stale: Option<Stale>) -> Reply<O> {
    let item = Item::stored(cache, stored, stale);
    let status = outcome::record(cache, [item.outcome].into_iter(), Miss::Unknown);
    cache.saved(Some(item.saved));
    let mut reply = item.into_reply(cache);
    status.insert_into(&mut reply.extensions);
    reply
}

/// Joins the items' responses to that of the whole request.
fn join<T: Operation>(question: &T, items: &Items<T>, found: List<Item<T::Output>>) -> Result<Reply<T::Output>, Error> {
    let (facts, mut limits, mut extensions) = (sum(&found), None, Extensions::new());
    let mut wholes = Vec::with_capacity(found.len());
    for item in found {
        limits = item.limits.clone().or(limits);
        extensions.extend(item.extensions.clone());
        wholes.push(item.into_whole().ok_or_else(lost)?);
    }
    let answers = items.positions.iter().map(|at| wholes[*at].as_ref().clone()).collect();
    let whole = question.join(answers)?;
    let mut reply = Reply::new(T::Output::replay(Arc::new(whole), None), Receipt::new(facts)).with_limits(limits);
    reply.extensions = extensions;
    Ok(reply)
}

/// Adds up the accounting of several items.
fn sum<O: Output>(items: &[Item<O>]) -> Accounting {
    let mut facts = Accounting::default();
    // Vendor and model are those of any item: they were asked in one request.
    if let Some(last) = items.last() {
        facts.copy_response(&last.facts);
    }
    facts.usage = items.iter().map(|item| item.facts.usage).sum::<Option<Usage>>();
    facts.cost = items.iter().map(|item| item.facts.cost).sum::<Option<Usd>>();
    facts.list = items.iter().map(|item| item.facts.list).sum::<Option<Usd>>();
    facts.packed = items.iter().any(|item| item.facts.packed);
    facts.unpriced = items.iter().find_map(|item| item.facts.unpriced.clone());
    facts.paid = Some(items.iter().map(|item| item.facts.paid()).sum());
    facts.side_calls = Vec::new();
    let claims: Vec<CostShare> = items.iter().filter_map(|item| item.facts.cost_share.clone()).collect();
    facts.cost_share = (!claims.is_empty()).then(|| CostShare::all(claims));
    facts.saved = items.iter().flat_map(|item| item.facts.saved.iter()).collect();
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
