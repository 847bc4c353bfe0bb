//! Replies, and the accounting on their receipts. Only this file writes the paid and saved amounts.
//!
//! | source | origin | paid | saved |
//! |---|---|---|---|
//! | an entry | `Cache` | nothing | its cost, as a cache hit |
//! | the call that this request led | that of the layers below | what they report | what they report |
//! | the call of another request | `Coalesced` | nothing, or the cost if its share is claimed here first | its cost otherwise |
//!
//! The receipt of a running stream is written when the stream has ended, because its usage is not known before.

use std::sync::Arc;

use llm_core::{
    Cause, Error, Operation, Origin, Output, Receipt, Reply, Usage, Usd,
    layer::{Accounting, CostShare, End, Extensions},
};

use super::{
    List,
    call::{Sent, SharedReply},
    outcome::{self, ItemOutcome},
    request::Request,
    single_flight::WaiterHandle,
};
use crate::{Miss, Stale, entries::Stored, failure::lost, inner::Inner};

/// Reply to one item of a request.
pub(crate) struct Item<O: Output> {
    /// Response with the accounting of the item, the vendor's limits, and the extensions of a call that this request
    /// led.
    reply: Reply<Response<O>>,
    /// Source of the response, for status and counters.
    outcome: ItemOutcome,
    /// Cost that this cache saved for the request. Lower layers may have saved more.
    saved: Usd,
}

/// Handle by which one caller keeps a call running.
type Hold<O> = WaiterHandle<Result<Sent<<O as Output>::Complete>, Error>>;

/// Response to one item.
enum Response<O: Output> {
    Whole(Arc<O::Complete>),
    /// Response to the request's only item, which may still run. Boxed, so that items are cheap to move.
    Live(Box<O>),
}

impl<O: Output> Item<O> {
    /// Creates the reply for an entry. If the entry has expired, `stale` is the reason for serving it.
    pub(crate) fn stored(stored: Stored<O::Complete>, stale: Option<Stale>) -> Self {
        let outcome = ItemOutcome::stored(&stored, stale);
        let Stored { response, entry, age } = stored;
        let mut accounting = entry.accounting.clone();
        let saved = accounting.cost.unwrap_or_default();
        accounting.origin = Origin::Cache { tier: entry.tier, age };
        accounting.saved.add(Cause::CacheHit, saved);
        Self { reply: Reply::new(Response::Whole(response), Receipt::new(accounting)), outcome, saved }
    }

    /// Creates the reply of a call whose response is complete and whose receipt is final. `is_only` is true for the
    /// request's only item.
    pub(super) fn whole(whole: Arc<O::Complete>, shared: SharedReply<O::Complete>, led: bool, is_only: bool) -> Self {
        let own = Receipt::default();
        let saved = shared.receipt.edit(|shared| {
            let share = &shared.cost_share;
            // All callers of a request's only item may claim its cost, and the first whose response is counted gets it.
            // The cost of one of several items is claimed by the first caller that gets the item.
            let taken = match is_only {
                true => share.clone(),
                false => share.as_ref().and_then(|share| share.split(&[1])).and_then(|mut own| own.pop()),
            };
            let is_saved = taken.is_none() && (share.is_some() || !led);
            own.edit(|own| {
                write(own, shared, led, is_saved);
                own.cost_share = taken;
            });
            shared.cost.filter(|_| if is_only { !led } else { is_saved })
        });
        Self::sent(Reply::new(Response::Whole(whole), own), saved.unwrap_or_default(), shared, led)
    }

    /// Creates the reply of a call whose response may still run. The response to one item of several is awaited to its
    /// end. The response to the request's only item is returned while it still runs. The reply then keeps `handle`
    /// until the response has ended, so that later callers find the running call.
    pub(super) async fn running(
        shared: SharedReply<O::Complete>,
        led: bool,
        is_only: bool,
        handle: Hold<O>,
        cache: Arc<Inner>,
    ) -> Result<Self, Error> {
        if !is_only {
            return Ok(Self::whole(shared.response.clone().whole().await?, shared, led, is_only));
        }
        let output = O::join(shared.response.clone()).await?;
        let (own, receipt) = (Receipt::default(), shared.receipt.clone());
        let write = move |own: &mut Accounting, shared: &Accounting| {
            write(own, shared, led, !led && shared.cost_share.is_none());
        };
        receipt.edit(|shared| own.edit(|own| write(own, shared)));
        let reply = Reply::new(output, own).on_end(move |end, own| {
            // Dropping the last handle ends the call. Only then is its accounting final.
            drop(handle);
            let (ended, is_complete) = (receipt.accounting(), matches!(end, End::Complete(_)));
            if is_complete && !led {
                cache.saved(ended.cost);
            }
            own.edit(|own| {
                write(own, &ended);
                if is_complete {
                    // All callers may claim the cost, and the first whose response is counted gets it.
                    own.cost_share = ended.cost_share;
                }
            });
        });
        Ok(Self::sent(reply.map(|output| Response::Live(Box::new(output))), Usd::ZERO, shared, led))
    }

    fn sent(reply: Reply<Response<O>>, saved: Usd, shared: SharedReply<O::Complete>, led: bool) -> Self {
        let mut reply = reply.with_limits(shared.limits);
        if led {
            // Only the leader gets the extensions of lower layers.
            reply.extensions = shared.extensions;
        }
        Self { reply, outcome: if led { ItemOutcome::Led } else { ItemOutcome::Joined }, saved }
    }

    /// Returns the reply to a request with this single item, and counts the reply's status. `miss` is the reason for a
    /// call, if one was sent.
    pub(crate) fn into_reply(self, cache: &Inner, miss: Miss) -> Reply<O> {
        let Self { reply, outcome, saved } = self;
        let status = outcome::record(cache, [outcome].into_iter(), miss);
        cache.saved(Some(saved));
        let usage = reply.receipt.usage();
        let mut reply = reply.map(|response| match response {
            Response::Whole(whole) => O::replay(whole, usage),
            Response::Live(output) => *output,
        });
        status.insert_into(&mut reply.extensions);
        reply
    }

    /// Returns the response if it is complete.
    pub(super) fn into_whole(self) -> Option<Arc<O::Complete>> {
        match self.reply.output {
            Response::Whole(whole) => Some(whole),
            Response::Live(_) => None,
        }
    }
}

/// Writes one caller's accounting of a shared response. The leader has the accounting of the layers below. If
/// `is_saved` is true, the cost of the response counts as saved by coalescing, because this caller cannot claim it.
fn write(accounting: &mut Accounting, shared: &Accounting, led: bool, is_saved: bool) {
    accounting.copy_response(shared);
    match led {
        true => {
            (accounting.origin, accounting.paid, accounting.saved) = (shared.origin, shared.paid.clone(), shared.saved)
        }
        false => accounting.origin = Origin::Coalesced,
    }
    if let (true, Some(cost)) = (is_saved, shared.cost) {
        accounting.saved.add(Cause::Coalesced, cost);
    }
}

/// Joins the items of a request into one reply, and counts the reply's status. `miss` is the reason for a call, if no
/// item was served.
pub(super) fn make<T: Operation>(
    request: &Request<T>,
    mut found: List<Item<T::Output>>,
    miss: Miss,
) -> Result<Reply<T::Output>, Error> {
    let Request { cache, call, positions, .. } = request;
    if request.is_one()
        && let Some(only) = found.pop()
    {
        return Ok(only.into_reply(cache, miss));
    }
    let status = outcome::record(cache, found.iter().map(|item| item.outcome), miss);
    cache.saved(Some(found.iter().map(|item| item.saved).sum()));
    let accounting = sum(found.iter().map(|item| item.reply.receipt.edit(std::mem::take)).collect());
    let (mut limits, mut extensions, mut wholes) = (None, Extensions::new(), Vec::with_capacity(found.len()));
    for item in found {
        limits = item.reply.limits.clone().or(limits);
        extensions.extend(item.reply.extensions.clone());
        wholes.push(item.into_whole().ok_or_else(lost)?);
    }
    let responses = positions.iter().map(|at| wholes[*at].as_ref().clone()).collect();
    let whole = Arc::new(call.body.join(responses)?);
    let mut reply = Reply::new(T::Output::replay(whole, None), Receipt::new(accounting)).with_limits(limits);
    status.insert_into(&mut extensions);
    reply.extensions = extensions;
    Ok(reply)
}

/// Adds up the accounting of several items.
fn sum(mut items: Vec<Accounting>) -> Accounting {
    let mut accounting = Accounting::default();
    // Vendor and model are the same for all items, because the items belong to one request.
    if let Some(last) = items.last() {
        accounting.copy_response(last);
    }
    accounting.usage = items.iter().map(|item| item.usage).sum::<Option<Usage>>();
    accounting.cost = items.iter().map(|item| item.cost).sum::<Option<Usd>>();
    accounting.list = items.iter().map(|item| item.list).sum::<Option<Usd>>();
    accounting.packed = items.iter().any(|item| item.packed);
    accounting.unpriced = items.iter().find_map(|item| item.unpriced.clone());
    accounting.paid = Some(items.iter().map(|item| item.paid()).sum());
    accounting.side_calls = Vec::new();
    let shares: Vec<CostShare> = items.iter_mut().filter_map(|item| item.cost_share.take()).collect();
    accounting.cost_share = (!shares.is_empty()).then(|| CostShare::all(shares));
    accounting.saved = items.iter().flat_map(|item| item.saved.iter()).collect();
    let ages = items.iter().map(|item| match item.origin {
        Origin::Cache { age, tier } => Some((age, tier)),
        _ => None,
    });
    accounting.origin = match ages.collect::<Option<Vec<_>>>().map(|ages| ages.into_iter().max()) {
        Some(oldest) => {
            let (age, tier) = oldest.unwrap_or_default();
            Origin::Cache { tier, age }
        }
        None if items.iter().any(|item| item.origin == Origin::Vendor) => Origin::Vendor,
        None => Origin::Coalesced,
    };
    accounting
}
