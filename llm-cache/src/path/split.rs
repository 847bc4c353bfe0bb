//! The accounting of a call, split among its items.

use llm_core::{Usd, layer::Accounting};

/// Splits the accounting of a call exactly among its items, by their estimated input.
pub(super) fn split(facts: &Accounting, weights: &[u64]) -> Vec<Accounting> {
    let usages = facts.usage.map(|usage| usage.split(weights));
    let costs = facts.cost.map(|cost| cost.split(weights));
    let paid = facts.paid.as_ref().map(|paid| paid.split(weights));
    // Each amount is rounded on its own. An item's list price follows from its other amounts, so that they add up.
    let rest = facts.list.map(|list| (list - identity(facts)).split(weights));
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
            share.saved = saved.iter().map(|(cause, amounts)| (*cause, amounts[at])).collect();
            share.list = rest.as_ref().map(|rest| rest[at] + identity(&share));
            share.cost_share = claims.next();
            share
        })
        .collect()
}

/// The list price that the other amounts of a response make up.
fn identity(facts: &Accounting) -> Usd {
    facts.cost.unwrap_or_default() + facts.saved.of_response().total()
}

#[cfg(test)]
mod tests {
    use llm_core::{Cause, Usage};

    use super::*;

    #[test]
    fn split_gives_remainder_to_last_item() {
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

    #[test]
    fn split_list_price_adds_up_in_every_item() {
        for (cost, list) in [(11, 25), (25, 11), (7, 7)] {
            let mut facts = Accounting::default();
            facts.set_prices(Ok(Usd::from_nanos(cost)), Ok(Usd::from_nanos(list)));
            facts.saved.add(Cause::CacheHit, Usd::from_nanos(4));
            let shares = split(&facts, &[1, 2, 4]);
            for share in &shares {
                let saved = share.saved.of(Cause::Tier);
                assert_eq!(share.list, share.cost.map(|cost| cost + saved), "{cost} for {list}");
            }
            assert_eq!(shares.iter().filter_map(|share| share.list).sum::<Usd>(), Usd::from_nanos(list));
        }
    }
}
