//! Limiters to measure, and governor's keyed limiter to compare them with.

use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use llm_core::{
    Usage, Usd,
    price::{Price, Rate},
};
use llm_ratelimit::{Demand, Limiter, Plans, RateLimit, RateLimitLayer, Settlement, UnknownPrice};
use tower::Layer;

/// Limiter with limits that no benchmark reaches or that are already reached, and a call for it to decide.
#[derive(Debug)]
pub struct Gate {
    /// Limiter to measure.
    pub limiter: Limiter,
    /// Call of tenant `acme`.
    pub demand: Demand,
}

/// Limit that is too high for a benchmark to reach.
const MANY: &str = "4000000000000000";

impl Gate {
    /// Creates a limiter with one quota on requests.
    pub fn single() -> Self {
        Self::new(&format!(r#"{{"plans": {{"default": {{"limits": ["{MANY}/second"]}}}}}}"#))
    }

    /// Creates a limiter with four quotas: two for each tenant, one for each model, and one for all calls together.
    pub fn four() -> Self {
        Self::new(&format!(
            r#"{{"plans": {{"default": {{"limits": ["{MANY}/second", "{MANY} tokens/day"]}}}},
                "limits": ["{MANY} tokens/minute per model", "$9000000000/day"]}}"#
        ))
    }

    /// Creates a limiter with one quota on requests, which is used up.
    pub fn single_full() -> Self {
        Self::new(r#"{"plans": {"default": {"limits": ["1/day burst 1"]}}}"#).filled()
    }

    /// Creates a limiter with four quotas in three scopes, of which the model's is used up.
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

    /// Puts the limiter in front of a service.
    pub fn layer<S>(&self, service: S) -> RateLimit<S> {
        RateLimitLayer::new(self.limiter.clone()).layer(service)
    }

    /// Returns `true` if the limiter admits the call. The reservation is released at once.
    pub fn is_open(&self, demand: &Demand) -> bool {
        self.limiter.try_reserve(demand).is_ok()
    }

    /// Reserves and settles a call.
    pub fn pass(&self, demand: &Demand) {
        let reservation = self.limiter.try_reserve(demand).expect("there is room");
        reservation.settle(Settlement::Used { usage: Usage::new(900, 100), cost: Some(Usd::from_nanos(700)) });
    }

    /// Returns one call for each of `tenants` tenants.
    pub fn crowd(&self, tenants: usize) -> Vec<Demand> {
        (0..tenants).map(|tenant| self.of(&format!("tenant-{tenant}"))).collect()
    }

    /// Returns the same call for another tenant.
    pub fn of(&self, tenant: &str) -> Demand {
        let mut demand = self.demand.clone();
        demand.tenant = tenant.into();
        demand
    }
}

fn price() -> Price {
    Price { input: Rate::from_nanos(150_000_000), output: Rate::from_nanos(600_000_000), ..Price::default() }
}

/// Creates governor's keyed limiter with a limit that no benchmark reaches.
pub fn governor() -> DefaultKeyedRateLimiter<String> {
    RateLimiter::keyed(Quota::per_second(NonZeroU32::MAX))
}

/// Creates governor's keyed limiter, whose limit for tenant `acme` is used up.
pub fn governor_full() -> DefaultKeyedRateLimiter<String> {
    let limiter = RateLimiter::keyed(Quota::per_hour(NonZeroU32::MIN));
    let first = limiter.check_key(&"acme".to_owned());
    first.expect("there is room for one");
    limiter
}
