//! Policy for models without a price, for limits that count money.

use llm_core::{
    Estimate, Usage, Usd,
    price::{Price, PriceTable, Prices, UnknownCost},
};

use crate::Demand;

/// Policy for a call whose model has no price, if a limit counts money. Such a call never counts as free.
///
/// ```
/// use llm_core::price::{Price, PriceTable, Rate};
/// use llm_ratelimit::{Demand, Limiter, Plans, Reason, UnknownPrice};
///
/// let plans = Plans::uniform(["$1/day"])?;
/// let limiter = |policy| Limiter::builder(plans.clone()).prices(PriceTable::new("2026-01-01")).unknown_price(policy).build();
/// let demand = Demand::new("acme", "a-new-model").tokens(1_000, 500);
/// assert_eq!(limiter(UnknownPrice::Refuse)?.try_reserve(&demand).unwrap_err().reason(), Reason::Unpriced);
/// let dear = Price { input: Rate::from_nanos(15_000_000_000), output: Rate::from_nanos(75_000_000_000), ..Price::default() };
/// assert!(limiter(UnknownPrice::Assume(dear))?.try_reserve(&demand).is_ok());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownPrice {
    /// Refuses the call.
    #[default]
    Refuse,
    /// Assumes this price. If it is zero, the call is refused.
    Assume(Price),
}

impl UnknownPrice {
    /// Returns `true` if a price table or the assumed price can price calls.
    pub(crate) fn has_prices(self, prices: Option<&Prices>) -> bool {
        prices.is_some() || matches!(self, Self::Assume(price) if !is_free(&price))
    }

    /// Returns the largest cost of a demand, at the prices of the most expensive of its models.
    ///
    /// # Errors
    ///
    /// The reason for the first of its models that has no price.
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
    // Any part of the input may be audio.
    let heard = prices.cost_with(model, &Usage { audio_input: input, ..Usage::new(input, 0) }, &options)?;
    let said = prices.bound_with(model, &estimate(0, output), &options)?;
    Ok(bound.max(heard + said))
}

/// Returns `true` if the price of input or output is zero.
pub(crate) fn is_free(price: &Price) -> bool {
    price.bound(1_000_000, 1_000_000) == Usd::ZERO
}
