use std::{sync::Arc, time::Duration};

use llm_core::{Clock, Estimate, Price, Prices, Usage, Usd};

use crate::{Demand, Limiter, Plans, Sink, inner::Inner};

/// Settings of a [`Limiter`].
#[must_use]
pub struct LimiterBuilder {
    pub(crate) plans: Plans,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) prices: Option<Prices>,
    pub(crate) unknown_price: UnknownPrice,
    pub(crate) waiting: Option<Waiting>,
    pub(crate) observes: bool,
    pub(crate) sinks: Vec<Arc<dyn Sink>>,
    pub(crate) max_accounts: usize,
    pub(crate) close_within: Duration,
}

/// What a call costs whose model has no price, where a limit counts money. Never nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownPrice {
    /// It is refused.
    #[default]
    Refuse,
    /// It costs as much as this. If that is nothing, it is refused.
    Assume(Price),
}

/// How calls may wait for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub(crate) max_tokens: u64,
    pub(crate) max_calls: usize,
    pub(crate) longest: Duration,
}

impl Waiting {
    /// Calls wait for at most this long, or until their deadlines where those are sooner.
    ///
    /// At most a million tokens and 10,000 calls wait at once, unless set otherwise. Where no more may, the last calls of
    /// the tenant of whom most waits make room for one of whom less does, and are refused.
    pub fn at_most(longest: Duration) -> Self {
        Self { max_tokens: 1_000_000, max_calls: 10_000, longest }
    }

    /// At most so many tokens wait at once, as far as the calls say how many they may take.
    pub fn max_tokens(mut self, tokens: u64) -> Self {
        self.max_tokens = tokens;
        self
    }

    /// At most so many calls wait at once.
    pub fn max_calls(mut self, calls: usize) -> Self {
        self.max_calls = calls;
        self
    }
}

impl LimiterBuilder {
    pub(crate) fn new(plans: Plans) -> Self {
        Self {
            plans,
            clock: None,
            prices: None,
            unknown_price: UnknownPrice::Refuse,
            waiting: None,
            observes: false,
            sinks: Vec::new(),
            max_accounts: 250_000,
            close_within: Duration::from_secs(30),
        }
    }

    /// Lets calls wait for room. By default they are refused at once.
    pub fn waiting(mut self, waiting: Waiting) -> Self {
        self.waiting = Some(waiting);
        self
    }

    /// The prices of models, for limits that count money.
    pub fn prices(mut self, prices: impl Into<Prices>) -> Self {
        self.prices = Some(prices.into());
        self
    }

    /// What a call costs whose model has no price: by default, it is refused.
    pub fn unknown_price(mut self, policy: UnknownPrice) -> Self {
        self.unknown_price = policy;
        self
    }

    /// Decides and counts, and lets every call of the layer pass at once: see [`RateLimit`](crate::RateLimit).
    pub fn observe(mut self) -> Self {
        self.observes = true;
        self
    }

    /// Adds somebody who is told when limits on calendar windows are used up to a share.
    pub fn sink(mut self, sink: impl Sink) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// How many accounts (one for each tenant, model, label, … that is counted apart) to hold at most: 250,000 by default,
    /// some 280 bytes each with names of 36 characters, and 80 more for every limit after the first. An account that owes
    /// something is never forgotten for another; where there is no room, further ones share a few accounts with one limit
    /// each.
    pub fn max_accounts(mut self, accounts: usize) -> Self {
        self.max_accounts = accounts;
        self
    }

    /// How long [`Limiter::close`] waits for running calls: 30 s by default.
    pub fn close_within(mut self, longest: Duration) -> Self {
        self.close_within = longest;
        self
    }

    /// The wall clock: the system's by default, read every 10 ms and counted on in between.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// The limiter.
    pub fn build(self) -> Limiter {
        Limiter(Arc::new(Inner::new(self)))
    }
}

impl UnknownPrice {
    /// The most that a demand can cost, at the dearest of its models.
    pub(crate) fn bound(self, prices: Option<&Prices>, demand: &Demand) -> Option<Usd> {
        let each = demand.models().map(|model| self.bound_of(prices, model, demand));
        each.reduce(|one, other| Some(one?.max(other?))).flatten()
    }

    fn bound_of(self, prices: Option<&Prices>, model: &str, demand: &Demand) -> Option<Usd> {
        let (input, output) = (demand.input, demand.output);
        let estimate = |input, output| Estimate {
            input,
            input_bound: Some(input),
            output,
            output_bound: Some(output),
            ..Estimate::default()
        };
        let listed = prices.and_then(|prices| {
            let prices = prices.current();
            let bound = prices.bound(model, &estimate(input, output))?;
            if !demand.opaque {
                return Some(bound);
            }
            // Any of it may be audio.
            let heard = prices.cost(model, &Usage { audio_input: input, ..Usage::new(input, 0) })?;
            let said = prices.bound(model, &estimate(0, output))?;
            Some(bound.max(heard + said))
        });
        match self {
            Self::Refuse => listed,
            Self::Assume(price) => listed.or_else(|| Some(price.bound(input, output)).filter(|_| !is_free(&price))),
        }
    }
}

/// Whether a stated price is none.
pub(crate) fn is_free(price: &Price) -> bool {
    price.bound(1_000_000, 1_000_000) == Usd::ZERO
}

impl std::fmt::Debug for LimiterBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LimiterBuilder").field("plans", &self.plans).finish_non_exhaustive()
    }
}
