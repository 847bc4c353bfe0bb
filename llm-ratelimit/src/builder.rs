use std::{sync::Arc, time::Duration};

use llm_core::{
    Clock, Estimate, Usage, Usd,
    price::{Price, PriceTable, Prices, UnknownCost},
};

use crate::{
    BuildError, Demand, Limiter, Plans, Sink, UnitName,
    accounts::Accounts,
    build_error::{check, check_unit},
    inner::Inner,
};

/// Settings of a [`Limiter`].
///
/// ```
/// use llm_core::price::{Price, Rate};
/// use llm_ratelimit::{BuildError, Limiter, Plans, UnknownPrice};
///
/// let plans = Plans::uniform(["5 proposals/month", "$3/day"])?;
/// let price = Price { input: Rate::from_nanos(150_000_000), output: Rate::from_nanos(600_000_000), ..Price::default() };
/// let limiter = Limiter::builder(plans).unit("proposal").unknown_price(UnknownPrice::Assume(price)).build()?;
///
/// let misspelt = Plans::uniform(["100k tokns/minute"])?;
/// assert!(matches!(limiter.replace(&misspelt), Err(BuildError::UnknownUnit { nearest, .. }) if nearest == "tokens"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct LimiterBuilder {
    pub(crate) plans: Plans,
    pub(crate) units: Vec<UnitName>,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) prices: Option<Prices>,
    pub(crate) unknown_price: UnknownPrice,
    pub(crate) waiting: Option<Waiting>,
    pub(crate) shadow: bool,
    pub(crate) sinks: Vec<Arc<dyn Sink>>,
    pub(crate) max_accounts: usize,
    pub(crate) close_within: Duration,
    /// Accounts other than those in memory.
    pub(crate) accounts: Option<Box<dyn Accounts>>,
}

/// Cost of a call whose model has no price, where a limit counts money. Never nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownPrice {
    /// It is refused.
    #[default]
    Refuse,
    /// It costs as much as this. If that is nothing, it is refused.
    Assume(Price),
}

/// Bounds within which calls may wait for room.
///
/// ```
/// use std::time::Duration;
///
/// use llm_ratelimit::{Limiter, Plans, Waiting};
///
/// let waiting = Waiting::at_most(Duration::from_secs(10)).max_tokens(200_000);
/// let limiter = Limiter::builder(Plans::uniform(["10/minute"])?).waiting(waiting).build()?;
/// # let _ = limiter;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
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
            units: Vec::new(),
            clock: None,
            prices: None,
            unknown_price: UnknownPrice::Refuse,
            waiting: None,
            shadow: false,
            sinks: Vec::new(),
            max_accounts: 250_000,
            close_within: Duration::from_secs(30),
            accounts: None,
        }
    }

    /// Lets calls wait for room. By default they are refused at once.
    pub fn waiting(mut self, waiting: Waiting) -> Self {
        self.waiting = Some(waiting);
        self
    }

    /// Declares a unit that the application sells, for limits such as `5 proposals/month`: case and a plural's `s` make no
    /// difference. Limits on units that are neither built in nor declared are refused, because no call would count in them.
    pub fn unit(mut self, name: &str) -> Self {
        self.units.push(UnitName::new(name));
        self
    }

    /// Sets the prices of models, for limits that count money. Without prices such limits are refused, unless
    /// [`unknown_price`](Self::unknown_price) states one; give an empty table where each [`Demand`] states its own cost.
    pub fn prices(mut self, prices: impl Into<Prices>) -> Self {
        self.prices = Some(prices.into());
        self
    }

    /// Sets the cost of a call whose model has no price: by default, it is refused.
    pub fn unknown_price(mut self, policy: UnknownPrice) -> Self {
        self.unknown_price = policy;
        self
    }

    /// Decides and counts, but sends every call of the layer at once: see [`RateLimit`](crate::RateLimit). A call that would
    /// be refused counts in calendar windows, so that they show what was used, and in no bucket and no slot, so that later
    /// calls are decided as if it had been refused there.
    ///
    /// ```
    /// use llm_ratelimit::{Limiter, Plans};
    ///
    /// let limiter = Limiter::builder(Plans::uniform(["1/day"])?).shadow().build()?;
    /// assert!(limiter.is_shadow());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn shadow(mut self) -> Self {
        self.shadow = true;
        self
    }

    /// Adds a receiver of the events that limits on calendar windows are used up to a share.
    pub fn sink(mut self, sink: impl Sink) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// Sets the number of accounts (one for each tenant, model, label, … that is counted apart) to hold: 250,000 by default,
    /// some 280 bytes each with names of 36 characters, and 80 more for every limit after the first. An account that owes
    /// something is never forgotten for another; where there is no room, further ones share a few accounts with one limit
    /// each.
    pub fn max_accounts(mut self, accounts: usize) -> Self {
        self.max_accounts = accounts;
        self
    }

    /// Sets the time for which [`Limiter::close`] waits for running calls: 30 s by default.
    pub fn close_within(mut self, longest: Duration) -> Self {
        self.close_within = longest;
        self
    }

    /// Sets the wall clock: the system's by default, read every 10 ms and counted on in between.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Builds the limiter.
    ///
    /// # Errors
    ///
    /// [`BuildError::UnknownUnit`] and [`BuildError::NoPrices`] for plans with a limit that could not be enforced,
    /// [`BuildError::Unit`] for a unit that cannot be declared.
    pub fn build(self) -> Result<Limiter, BuildError> {
        self.units.iter().try_for_each(check_unit)?;
        check(&self.plans, &self.units, self.unknown_price.has_prices(self.prices.as_ref()))?;
        Ok(Limiter(Arc::new(Inner::new(self))))
    }
}

impl UnknownPrice {
    /// Returns true if any call can be priced.
    pub(crate) fn has_prices(self, prices: Option<&Prices>) -> bool {
        prices.is_some() || matches!(self, Self::Assume(price) if !is_free(&price))
    }

    /// Returns the most that a demand can cost, at the dearest of its models.
    ///
    /// # Errors
    ///
    /// The cause for the first of them that has no price.
    pub(crate) fn bound(self, prices: Option<&Prices>, demand: &Demand) -> Result<Usd, UnknownCost> {
        let prices = prices.map(Prices::current).unwrap_or_default();
        demand.models().try_fold(Usd::ZERO, |most, model| Ok(most.max(self.bound_of(&prices, model, demand)?)))
    }

    fn bound_of(self, prices: &PriceTable, model: &str, demand: &Demand) -> Result<Usd, UnknownCost> {
        let (input, output) = (demand.input, demand.output);
        let listed = listed_bound(prices, model, demand);
        match self {
            Self::Assume(price) if listed.is_err() && !is_free(&price) => Ok(price.bound(input, output)),
            Self::Refuse | Self::Assume(_) => listed,
        }
    }
}

fn listed_bound(prices: &PriceTable, model: &str, demand: &Demand) -> Result<Usd, UnknownCost> {
    let (input, output, options) = (demand.input, demand.output, demand.price_options());
    let estimate = |input, output| Estimate {
        input,
        input_bound: Some(input),
        output,
        output_bound: Some(output),
        ..Estimate::default()
    };
    let bound = prices.bound_with(model, &estimate(input, output), &options)?;
    if !demand.opaque {
        return Ok(bound);
    }
    // Any of it may be audio.
    let heard = prices.cost_with(model, &Usage { audio_input: input, ..Usage::new(input, 0) }, &options)?;
    let said = prices.bound_with(model, &estimate(0, output), &options)?;
    Ok(bound.max(heard + said))
}

/// Returns true if a stated price is none.
pub(crate) fn is_free(price: &Price) -> bool {
    price.bound(1_000_000, 1_000_000) == Usd::ZERO
}

impl std::fmt::Debug for LimiterBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LimiterBuilder").field("plans", &self.plans).finish_non_exhaustive()
    }
}
