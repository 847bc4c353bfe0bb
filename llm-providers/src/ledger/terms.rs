use std::any::Any;

use llm_core::{ChatRequest, Facts, Operation, PriceTable, ServiceTier, Streamed, Usage, Usd};

use super::Ledger;

/// What an attempt is valued by: the prices it began with, and the service class it asked for.
#[derive(Debug)]
pub(super) struct Terms {
    prices: PriceTable,
    /// The class named in the request, unless it leaves it to the vendor.
    asked: Option<ServiceTier>,
    pub(super) bound: Option<Usd>,
}

impl Terms {
    pub(super) fn of<T: Operation>(ledger: &Ledger, body: &T) -> Self {
        let prices = ledger.prices();
        let asked = asked(body);
        let (model, estimate) = (body.model(), body.estimate());
        let bound = match &asked {
            Some(tier) => prices.bound_with(model, &estimate, &tier.clone().into()),
            // A model that does not have the usual class is served at standard.
            None => {
                let usual = prices.bound_with(model, &estimate, &ledger.tier_of_no_tier().into());
                usual.or_else(|| prices.bound(model, &estimate))
            }
        };
        Self { prices, asked, bound }
    }

    /// What `usage` costs at what the vendor says of itself in `facts`; where it names no class, at the one asked for.
    pub(super) fn cost(&self, asked_model: &str, facts: &Facts, usage: &Usage) -> Option<Usd> {
        let tier = match facts.service_tier.as_deref() {
            Some(named) => ServiceTier::named(named),
            None => self.asked.clone().unwrap_or_default(),
        };
        let model = match facts.model.as_deref() {
            Some(answered) if self.prices.model(answered).is_none() && extends(answered, asked_model) => asked_model,
            Some(answered) => answered,
            None => asked_model,
        };
        self.prices.cost_with(model, usage, &tier.into())
    }
}

/// The service class that a request names, where it is one whose form this crate knows.
fn asked<T: Operation>(body: &T) -> Option<ServiceTier> {
    let body: &dyn Any = body;
    let streamed = || body.downcast_ref::<Streamed<ChatRequest>>().map(|streamed| &streamed.0);
    let request = body.downcast_ref::<ChatRequest>().or_else(streamed)?;
    // Gemini writes its fields in camel case.
    let word = ["service_tier", "serviceTier"].into_iter().find_map(|name| request.extra.get(name)?.as_str())?;
    (!matches!(word, "auto" | "")).then(|| ServiceTier::named(word))
}

/// Whether the vendor's name for what answered is the name asked for and more: `m-0125` for `m`.
fn extends(answered: &str, asked: &str) -> bool {
    answered.strip_prefix(asked).is_some_and(|rest| rest.starts_with('-'))
}
