//! Lever that uses cheaper service classes for calls that can wait.

use llm_core::{
    Usd,
    price::{PriceOptions, PriceTable, ServiceTier},
};

use super::call::Call;
use crate::report::{Effect, Finding, Lever, Row, grouped};

#[derive(Debug, Default)]
pub(super) struct Tiers {
    /// Number of calls and money saved in each class, for all calls and for the calls that the cache above does not
    /// serve.
    saved: [[(u64, Usd); 2]; 2],
    priced: u64,
}

impl Tiers {
    pub(super) fn observe(&mut self, call: &Call<'_>, prices: &PriceTable) {
        let Some(standard) = call.cost else { return };
        self.priced += 1;
        for (tier, saved) in tiers().into_iter().zip(&mut self.saved) {
            let options = PriceOptions::new().tier(tier);
            let Ok(cheaper) = prices.cost_with(&call.record.model, &call.usage, &options) else { continue };
            for (_, (calls, money)) in [true, call.is_miss].into_iter().zip(saved).filter(|(counts, _)| *counts) {
                *calls += 1;
                *money += standard - cheaper;
            }
        }
    }

    pub(super) fn finish(self) -> Lever {
        let mut lever = Lever::new("service tiers", Effect::SameResponses);
        if self.priced == 0 {
            lever.finding = Finding::NotProvable("no call has a known price".into());
            return lever;
        }
        let offered = tiers().into_iter().zip(&self.saved).filter(|(_, [(calls, _), _])| *calls > 0);
        let rows = offered.flat_map(|(tier, saved)| {
            ["all calls", "after the cache"].into_iter().zip(saved).map(move |(which, (calls, money))| Row {
                money: Some(*money),
                detail: Some(format!("{} calls have a price in this class", grouped(*calls))),
                ..Row::new(format!("{}, {which}", tier.name()))
            })
        });
        lever.finding = Finding::Rows(rows.collect());
        lever
            .notes
            .push("Batches are answered within hours, flexible tiers within minutes: for work that can wait.".into());
        lever
    }
}

fn tiers() -> [ServiceTier; 2] {
    [ServiceTier::Batch, ServiceTier::Flex]
}
