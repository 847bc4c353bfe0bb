//! Reserving and settling, beside governor's keyed check.

use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use llm_core::{
    Usage, Usd,
    price::{Price, Rate},
};
use llm_ratelimit::{Demand, Limiter, Plans, RateLimit, RateLimitLayer, Settlement, UnknownPrice};
use tower::Layer;

/// A limiter that never says no, and what is asked of it.
#[derive(Debug)]
pub struct Gate {
    /// The limiter.
    pub limiter: Limiter,
    /// A call of a tenant.
    pub demand: Demand,
}

/// So much that no bench uses it up.
const MANY: &str = "4000000000000000";

impl Gate {
    /// One quota on requests.
    pub fn single() -> Self {
        Self::new(&format!(r#"{{"plans": {{"default": {{"limits": ["{MANY}/second"]}}}}}}"#))
    }

    /// Four quotas: two of the tenant, one of the model, one for all together.
    pub fn four() -> Self {
        Self::new(&format!(
            r#"{{"plans": {{"default": {{"limits": ["{MANY}/second", "{MANY} tokens/day"]}}}},
                "limits": ["{MANY} tokens/minute per model", "$9000000000/day"]}}"#
        ))
    }

    /// One quota on requests, used up.
    pub fn single_full() -> Self {
        Self::new(r#"{"plans": {"default": {"limits": ["1/day burst 1"]}}}"#).filled()
    }

    /// Four quotas in three scopes, that of the model used up.
    pub fn four_full() -> Self {
        Self::new(&format!(
            r#"{{"plans": {{"default": {{"limits": ["{MANY}/second", "{MANY} tokens/day"]}}}},
                "limits": ["1500 tokens/week burst 1500 per model", "$9000000000/day"]}}"#
        ))
        .filled()
    }

    fn filled(self) -> Self {
        let reservation = self.limiter.try_reserve(&self.demand).expect("there is room for one");
        reservation.settle(Settlement::Unknown);
        self
    }

    fn new(plans: &str) -> Self {
        let plans: Plans = serde_json::from_str(plans).expect("the plans are right");
        let demand = Demand::new("acme", "gpt-4o-mini").tokens(1_000, 500).cost(Usd::from_nanos(1_000));
        Self {
            limiter: Limiter::builder(plans)
                .unknown_price(UnknownPrice::Assume(price()))
                .build()
                .expect("the limits are right"),
            demand,
        }
    }

    /// Its layer in front of a service.
    pub fn layer<S>(&self, service: S) -> RateLimit<S> {
        RateLimitLayer::new(self.limiter.clone()).layer(service)
    }

    /// Asks and is refused, or reserves and gives it back.
    pub fn is_open(&self, demand: &Demand) -> bool {
        self.limiter.try_reserve(demand).is_ok()
    }

    /// Reserves and settles.
    pub fn pass(&self, demand: &Demand) {
        let reservation = self.limiter.try_reserve(demand).expect("there is room");
        reservation.settle(Settlement::Used { usage: Usage::new(900, 100), cost: Some(Usd::from_nanos(700)) });
    }

    /// Calls of so many tenants.
    pub fn crowd(&self, tenants: usize) -> Vec<Demand> {
        (0..tenants).map(|tenant| self.of(&format!("tenant-{tenant}"))).collect()
    }

    /// A call of this tenant.
    pub fn of(&self, tenant: &str) -> Demand {
        let mut demand = self.demand.clone();
        demand.tenant = tenant.into();
        demand
    }
}

fn price() -> Price {
    Price { input: Rate::from_nanos(150_000_000), output: Rate::from_nanos(600_000_000), ..Price::default() }
}

/// Governor's keyed limiter, as wide open.
pub fn governor() -> DefaultKeyedRateLimiter<String> {
    RateLimiter::keyed(Quota::per_second(NonZeroU32::MAX))
}

/// Governor's keyed limiter, used up for tenant `acme`.
pub fn governor_full() -> DefaultKeyedRateLimiter<String> {
    let limiter = RateLimiter::keyed(Quota::per_hour(NonZeroU32::MIN));
    let first = limiter.check_key(&"acme".to_owned());
    first.expect("there is room for one");
    limiter
}
