use std::sync::Arc;

use llm_core::{
    Cause, Error, Operation, Origin, Output, Receipt, Reply, Usage, Usd,
    layer::{Accounting, Complete, CostShare, Extensions, Shared, VendorLimits},
};

use super::{Fate, Items};
use crate::{
    Stale,
    inner::{Inner, Stored},
    service::saved,
    upstream::Arrival,
};

/// The answer to one item, and how this request came by it.
pub(super) struct Item<C> {
    answer: Arc<C>,
    facts: Accounting,
    pub(super) fate: Fate,
    /// List price of what this cache spared the request; lower layers may have spared more.
    pub(super) spared: Usd,
    limits: Option<Arc<VendorLimits>>,
    extensions: Extensions,
}

impl<C: 'static> Item<C> {
    pub(super) fn stored(cache: &Inner, stored: Stored<C>, stale: Option<Stale>) -> Self {
        let fate = Fate::stored(cache, &stored.entry, stale);
        let origin = Origin::Cache { tier: stored.entry.tier, age: stored.entry.age(cache.now()) };
        let (answer, facts) = (stored.answer, saved(&stored.entry, origin));
        let spared = facts.saved.total();
        Self { answer, facts, fate, spared, limits: None, extensions: Extensions::new() }
    }

    /// What a call brought, and this request's share in what it cost.
    pub(super) async fn bought(cache: &Inner, arrival: Arrival<C>, led: bool) -> Result<Self, Error> {
        let (answer, receipt, limits, extensions) = match arrival {
            Arrival::Stored(stored) => return Ok(Self::stored(cache, stored, None)),
            Arrival::Bought { answer, receipt, limits, extensions } => (answer, receipt, limits, extensions),
        };
        let answer = match answer {
            Shared::Whole(whole) => whole,
            Shared::Live(live) => live.wait().await?,
        };
        let arrived = receipt.accounting();
        let mut facts = Accounting::default();
        facts.copy_response(&arrived);
        // Whoever comes first makes the purchase his own; for the others the item is a saving.
        facts.cost_share =
            arrived.cost_share.as_ref().and_then(|claim| claim.split(&[1])).and_then(|mut own| own.pop());
        match led {
            true => (facts.origin, facts.paid, facts.saved) = (arrived.origin, arrived.paid.clone(), arrived.saved),
            false => facts.origin = Origin::Coalesced,
        }
        let is_spared = facts.cost_share.is_none() && (arrived.cost_share.is_some() || !led);
        let spared = facts.cost.filter(|_| is_spared).unwrap_or_default();
        facts.saved.add(Cause::Coalesced, spared);
        // What lower layers told whoever led is told on to him alone.
        let (fate, extensions) = if led { (Fate::Asked, extensions) } else { (Fate::Awaited, Extensions::new()) };
        Ok(Self { answer, facts, fate, spared, limits, extensions })
    }
}

/// The reply to a request, of the answers to its items.
pub(super) fn unite<T: Operation>(
    question: &T,
    items: &Items<T>,
    found: Vec<Item<Complete<T>>>,
) -> Result<Reply<T::Output>, Error> {
    let answers = items.places.iter().map(|at| found[*at].answer.as_ref().clone()).collect();
    let whole = question.join(answers)?;
    let mut reply = Reply::new(T::Output::replay(Arc::new(whole), None), Receipt::new(sum(&found)));
    for item in found {
        reply.limits = item.limits.or(reply.limits);
        reply.extensions.extend(item.extensions);
    }
    Ok(reply)
}

/// Splits what is known of a call among its items: exactly, by their estimated input.
pub(crate) fn split(facts: &Accounting, weights: &[u64]) -> Vec<Accounting> {
    let usages = facts.usage.map(|usage| usage.split(weights));
    let costs = facts.cost.map(|cost| cost.split(weights));
    let paid = facts.paid.as_ref().map(|paid| paid.split(weights));
    let saved: Vec<_> = facts.saved.iter().map(|(cause, amount)| (cause, amount.split(weights))).collect();
    let mut claims = facts.cost_share.as_ref().and_then(|claim| claim.split(weights)).unwrap_or_default().into_iter();
    (0..weights.len())
        .map(|at| {
            let mut share = Accounting::default();
            share.copy_response(facts);
            share.origin = facts.origin;
            share.usage = usages.as_ref().map(|usages| usages[at]);
            share.cost = costs.as_ref().map(|costs| costs[at]);
            share.paid = paid.as_ref().map(|paid| paid[at].clone());
            // What the shares cost is known or unknown already.
            share.side_calls = Vec::new();
            saved.iter().for_each(|(cause, amounts)| share.saved.add(*cause, amounts[at]));
            share.cost_share = claims.next();
            share
        })
        .collect()
}

/// What is known of an answer that is made of several.
fn sum<C>(items: &[Item<C>]) -> Accounting {
    let mut facts = Accounting::default();
    // Vendor and model are those of any item: they were asked in one request.
    if let Some(last) = items.last() {
        facts.copy_response(&last.facts);
    }
    facts.usage = items.iter().map(|item| item.facts.usage).sum::<Option<Usage>>();
    facts.cost = items.iter().map(|item| item.facts.cost).sum::<Option<Usd>>();
    facts.unpriced = items.iter().find_map(|item| item.facts.unpriced.clone());
    facts.paid = Some(items.iter().map(|item| item.facts.paid()).sum());
    facts.side_calls = Vec::new();
    let claims: Vec<CostShare> = items.iter().filter_map(|item| item.facts.cost_share.clone()).collect();
    facts.cost_share = (!claims.is_empty()).then(|| CostShare::all(claims));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remainder_of_what_a_call_took_goes_to_the_last_item() {
        let mut facts = Accounting::default();
        facts.usage = Some(Usage::new(10, 0));
        (facts.cost, facts.paid) = (Some(Usd::from_nanos(11)), Some(Usd::from_nanos(8).into()));
        facts.saved.add(Cause::CacheHit, Usd::from_nanos(4));
        let shares = split(&facts, &[1, 1, 1]);
        let each = |of: fn(&Accounting) -> Usd| shares.iter().map(|share| of(share).nanos()).collect::<Vec<_>>();
        let input: Vec<_> = shares.iter().filter_map(|share| share.usage).map(|usage| usage.input).collect();
        assert_eq!(input, [3, 3, 4]);
        assert_eq!(each(|share| share.cost.unwrap_or_default()), [3, 3, 5]);
        assert_eq!(each(|share| share.paid().at_least()), [2, 2, 4]);
        assert_eq!(each(|share| share.saved.of(Cause::CacheHit)), [1, 1, 2]);
    }
}
