use std::{any::Any, sync::Arc};

use llm_core::{
    ChatRequest, Operation, Usage, Usd,
    layer::{Accounting, Streamed},
    price::{PriceOptions, PriceTable, ServiceTier, UnknownCost},
};
use serde_json::Value;

use super::Ledger;
use crate::protocol::Settings;

/// Values that decide the cost of an attempt: the prices with which the attempt began, and the service class and
/// surcharges that its request names.
#[derive(Debug)]
pub(super) struct Terms {
    prices: PriceTable,
    request: RequestTerms,
    pub(super) bound: Result<Usd, UnknownCost>,
}

/// Options of a request that change its price.
#[derive(Debug, Default)]
struct RequestTerms {
    /// Service class that the request names; `None` if the request leaves the choice to the vendor.
    tier: Option<ServiceTier>,
    surcharges: Vec<Arc<str>>,
}

impl Terms {
    pub(super) fn of<T: Operation>(ledger: &Ledger, body: &T) -> Self {
        let (prices, defaults) = (ledger.prices(), ledger.default_service());
        let request = RequestTerms::of(body);
        let (model, estimate) = (body.model(), body.estimate());
        let bound = |tier: &ServiceTier, surcharges: &[Arc<str>]| {
            let ways = request.surcharges.iter().chain(surcharges);
            let options =
                ways.fold(PriceOptions::from(tier.clone()), |options, way| options.surcharge(Arc::clone(way)));
            prices.bound_with(model, &estimate, &options)
        };
        // If the model has no price for the default class or surcharge, the bound is computed without it, because the
        // vendor serves such a model without it.
        let tiers = match &request.tier {
            Some(tier) => vec![tier.clone()],
            None => vec![defaults.tier.clone(), ServiceTier::Standard],
        };
        let ways = tiers.iter().flat_map(|tier| [(tier, &*defaults.surcharges), (tier, &[])]);
        let mut bounds = ways.map(|(tier, surcharges)| bound(tier, surcharges));
        let first = bounds.next().unwrap_or(Err(UnknownCost::NoUsage));
        let bound = first.or_else(|cause| bounds.find_map(Result::ok).ok_or(cause));
        Self { prices, request, bound }
    }

    /// Returns `true` if the price table lists the model.
    pub(super) fn lists(&self, model: &str) -> bool {
        self.prices.model(model).is_some()
    }

    /// Returns the cost of `usage` at the service class that the vendor states in `accounting`. If the vendor states
    /// none, the requested class decides.
    pub(super) fn cost(
        &self,
        requested_model: &str,
        accounting: &Accounting,
        usage: &Usage,
    ) -> Result<Usd, UnknownCost> {
        let tier = self.request.tier.clone().unwrap_or_default();
        self.prices.cost_of(requested_model, &tier, accounting, usage)
    }

    /// Returns the list price of a response that cost `cost`: the same amount if it was served at the standard class,
    /// otherwise the price table's amount for its usage at that class.
    pub(super) fn list(
        &self,
        requested_model: &str,
        accounting: &Accounting,
        usage: Option<&Usage>,
        cost: Usd,
    ) -> Result<Usd, UnknownCost> {
        let named = accounting.service_tier.as_deref().map(ServiceTier::named);
        match (named.or_else(|| self.request.tier.clone()).unwrap_or_default(), usage) {
            (ServiceTier::Standard, _) => Ok(cost),
            (_, Some(usage)) => self.prices.list_of(requested_model, accounting, usage),
            (_, None) => Err(UnknownCost::NoUsage),
        }
    }
}

impl RequestTerms {
    /// Reads the service tier and the surcharges from the unknown fields of a chat request. Other operations have
    /// neither.
    fn of<T: Operation>(body: &T) -> Self {
        let body: &dyn Any = body;
        let streamed = || body.downcast_ref::<Streamed<ChatRequest>>().map(|streamed| &streamed.0);
        let Some(request) = body.downcast_ref::<ChatRequest>().or_else(streamed) else { return Self::default() };
        let word = |name: &str| request.extra.get(name).and_then(Value::as_str);
        // In Gemini's format, the field has its name in camel case.
        let tier = word("service_tier").or_else(|| word("serviceTier")).filter(|tier| !matches!(*tier, "auto" | ""));
        let mut settings = Settings::default();
        settings.take(|name| request.extra.get(name));
        Self { tier: tier.map(ServiceTier::named), surcharges: settings.charged() }
    }
}
