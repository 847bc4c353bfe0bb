//! Costs of usages and estimates by a price table.

use std::sync::Arc;

use super::{Bill, ModelPrice, PriceOptions, PriceTable, ServiceTier, TokenKind, UnknownCost, lookup::Name};
use crate::{Estimate, Usage, Usd, receipt::Accounting};

/// Function that finds a model's prices in a table, with or without the use of aliases.
type Lookup = for<'t> fn(&'t PriceTable, Name<'_>) -> Result<&'t ModelPrice, UnknownCost>;

impl PriceTable {
    /// Returns the cost of `usage` of the model at the standard service class.
    ///
    /// # Errors
    ///
    /// See [`cost_with`](Self::cost_with).
    pub fn cost(&self, model: &str, usage: &Usage) -> Result<Usd, UnknownCost> {
        self.cost_with(model, usage, &PriceOptions::new())
    }

    /// Returns the cost of `usage` of the model at the service class and with the surcharges in `options`.
    ///
    /// # Errors
    ///
    /// Returns [`UnknownCost`], never a guess or zero, if the table does not list the model, the service class for this
    /// model and length of prompt, a surcharge, or a price for a kind of tokens in the usage.
    pub fn cost_with(&self, model: &str, usage: &Usage, options: &PriceOptions) -> Result<Usd, UnknownCost> {
        let price = self.resolve(Name { provider: options.provider.as_deref(), model })?;
        cost(model, price, usage, options)
    }

    /// Returns the cost of a response to a request for the model `requested`, by the accounting data on its receipt. If
    /// the vendor named no service class, the class of the request counts, which is `tier`.
    ///
    /// The price is that of the model that answered. If the table does not list that model, the price is that of the
    /// model `requested`, provided that the name of the former extends `requested` (`m-0125` for `m`, `m-2512` for `m-latest`)
    /// or `requested` has an [alias](Self::alias). Each of the [side calls](Accounting::side_calls) is priced by its own
    /// model and length, the rest of the usage by the model that answered. The cost is taken from the first of these
    /// that exists:
    ///
    /// 1. prices that the table lists for the model at this [provider](Accounting::provider), or at any provider;
    /// 2. the cost on the receipt, which the client took from the vendor's statement;
    /// 3. prices by an [alias](Self::alias).
    ///
    /// Cached and written tokens that together are more than the input cannot all be part of it. For such a usage the
    /// cost on the receipt counts, if there is one.
    ///
    /// # Errors
    ///
    /// See [`cost_with`](Self::cost_with). Returns an error also for a usage larger than any response can have.
    pub fn cost_of(
        &self,
        requested: &str,
        tier: &ServiceTier,
        accounting: &Accounting,
        usage: &Usage,
    ) -> Result<Usd, UnknownCost> {
        let response = Response { requested, accounting, usage, options: options(tier, accounting) };
        let parts = [usage.cache_write, usage.cache_write_long].into_iter().fold(usage.cache_read, u64::saturating_add);
        if let (Some(stated), true) = (accounting.cost, parts > usage.input) {
            return Ok(stated);
        }
        self.sum(&response, Self::listed).or_else(|_| match accounting.cost {
            Some(stated) => Ok(stated),
            None => self.sum(&response, Self::resolve),
        })
    }

    /// Returns the list price of a response: the price of `usage` at the standard service class, by the table alone.
    /// The surcharges on the receipt apply. The model is found as for [`cost_of`](Self::cost_of).
    ///
    /// An amount that the vendor stated is ignored, because that amount is for the class at which the response was
    /// served. For a response that was served alone and at the standard class, the list price equals the cost.
    ///
    /// ```
    /// use llm_core::{Usage, layer::Accounting, price::{PriceTable, ServiceTier}};
    ///
    /// let json = r#"{"as_of": "2026-12-01", "models": {"m": {"rows": [{"input": "2", "output": "8"}],
    ///     "tiers": {"flex": [{"input": "1", "output": "4"}]}}}}"#;
    /// let (table, usage) = (PriceTable::from_json(json)?, Usage::new(1_000, 100));
    /// let mut accounting = Accounting::default();
    /// accounting.service_tier = Some("flex".into());
    /// let cost = table.cost_of("m", &ServiceTier::Standard, &accounting, &usage)?;
    /// let list = table.list_of("m", &accounting, &usage)?;
    /// assert_eq!((cost.to_string().as_str(), list.to_string().as_str()), ("$0.0014", "$0.0028"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`cost_with`](Self::cost_with). Returns an error also for a usage larger than any response can have.
    pub fn list_of(&self, requested: &str, accounting: &Accounting, usage: &Usage) -> Result<Usd, UnknownCost> {
        let options = surcharged(ServiceTier::Standard, accounting);
        let response = Response { requested, accounting, usage, options };
        self.sum(&response, Self::listed).or_else(|_| self.sum(&response, Self::resolve))
    }

    /// Returns the cost of `usage` line by line. Kinds of tokens without a known price are named in the bill.
    ///
    /// # Errors
    ///
    /// See [`cost_with`](Self::cost_with). A kind of tokens without a price is no error here, because the bill names
    /// it.
    pub fn bill(&self, model: &str, usage: &Usage, options: &PriceOptions) -> Result<Bill, UnknownCost> {
        let price = self.resolve(Name { provider: options.provider.as_deref(), model })?;
        let row = row(model, price, &options.tier, usage.input)?;
        let factors = price.factors(&options.surcharges).map_err(|way| surcharge(model, way))?;
        Ok(Bill::of((model, self.as_of()), row, usage, options, &factors))
    }

    /// Returns the largest cost of a request with this estimate at the standard service class.
    ///
    /// The result is an upper bound if [`Estimate::input_bound`] is given and the request or the model bounds the
    /// output. Otherwise it is the likely cost.
    ///
    /// # Errors
    ///
    /// See [`bound_with`](Self::bound_with).
    pub fn bound(&self, model: &str, estimate: &Estimate) -> Result<Usd, UnknownCost> {
        self.bound_with(model, estimate, &PriceOptions::new())
    }

    /// Returns the largest cost of a request with this estimate, if it asks for the service class in `options`.
    ///
    /// A vendor without capacity in the requested class may serve and bill the standard class instead, so the dearer of
    /// the two counts. A batch has only its own price. See [`bound`](Self::bound) for the cases in which the result is
    /// an upper bound.
    ///
    /// # Errors
    ///
    /// Returns [`UnknownCost`] if the table does not list the model, the service class or a surcharge.
    pub fn bound_with(&self, model: &str, estimate: &Estimate, options: &PriceOptions) -> Result<Usd, UnknownCost> {
        let price = self.resolve(Name { provider: options.provider.as_deref(), model })?;
        let input = estimate.input_bound.unwrap_or(estimate.input);
        let output = match (estimate.output_bound, price.max_output) {
            (Some(requested), _) => requested,
            (None, Some(most)) => most.saturating_mul(estimate.choices.into()),
            (None, None) => estimate.output,
        };
        let bound = |tier| bound_of(model, price, tier, [input, output], options);
        let requested = bound(&options.tier)?;
        match options.tier {
            ServiceTier::Standard | ServiceTier::Batch => Ok(requested),
            _ => Ok(requested.max(bound(&ServiceTier::Standard)?)),
        }
    }

    fn sum(&self, response: &Response<'_>, lookup: Lookup) -> Result<Usd, UnknownCost> {
        check(response.usage)?;
        let mut rest = *response.usage;
        let mut sum = Usd::ZERO;
        for side in &response.accounting.side_calls {
            rest = rest.saturating_sub(side.usage);
            let (model, price) = match side.model.as_deref() {
                Some(model) => (model, lookup(self, response.name(model))?),
                None => self.response_price(response, lookup)?,
            };
            sum += cost(model, price, &side.usage, &response.options)?;
        }
        if rest != Usage::default() || response.accounting.side_calls.is_empty() {
            let (model, price) = self.response_price(response, lookup)?;
            sum += cost(model, price, &rest, &response.options)?;
        }
        Ok(sum)
    }

    /// Returns the prices of the model that answered. If the table does not list that model, returns the prices of the
    /// model `requested`, provided that the name of the model that answered extends `requested`, or `requested` has an
    /// alias.
    fn response_price<'a>(
        &self,
        response: &Response<'a>,
        lookup: Lookup,
    ) -> Result<(&'a str, &ModelPrice), UnknownCost> {
        let (requested, accounting) = (response.requested, response.accounting);
        let model = accounting.model.as_deref().unwrap_or(requested);
        let stands_in = extends(model, requested) || !accounting.fallback && self.alias_of(requested).is_some();
        match lookup(self, response.name(model)) {
            Ok(price) => Ok((model, price)),
            Err(cause @ UnknownCost::Model { .. }) if stands_in => {
                lookup(self, response.name(requested)).map(|price| (requested, price)).map_err(|_| cause)
            }
            Err(cause) => Err(cause),
        }
    }
}

/// Response whose cost is to be computed.
struct Response<'a> {
    requested: &'a str,
    accounting: &'a Accounting,
    usage: &'a Usage,
    options: PriceOptions,
}

impl<'a> Response<'a> {
    fn name(&self, model: &'a str) -> Name<'a> {
        Name { provider: self.accounting.provider.as_deref(), model }
    }
}

fn options(tier: &ServiceTier, accounting: &Accounting) -> PriceOptions {
    let tier = accounting.service_tier.as_deref().map_or_else(|| tier.clone(), ServiceTier::named);
    surcharged(tier, accounting)
}

fn surcharged(tier: ServiceTier, accounting: &Accounting) -> PriceOptions {
    accounting.surcharges.iter().cloned().fold(tier.into(), PriceOptions::surcharge)
}

fn cost(model: &str, price: &ModelPrice, usage: &Usage, options: &PriceOptions) -> Result<Usd, UnknownCost> {
    let row = row(model, price, &options.tier, usage.input)?;
    let factors = price.factors(&options.surcharges).map_err(|way| surcharge(model, way))?;
    let factors: Vec<u32> = factors.into_iter().map(|(_, factor)| factor).collect();
    let kind = |kind: TokenKind| UnknownCost::Kind { model: model.into(), kind };
    Ok(row.price.sum(usage, options.per_mille, &factors).map_err(kind)?.rounded_up())
}

fn row<'t>(
    model: &str,
    price: &'t ModelPrice,
    tier: &ServiceTier,
    input: u64,
) -> Result<&'t super::PriceRow, UnknownCost> {
    price.row(tier, input).ok_or_else(|| match price.tier(tier) {
        Some(_) => UnknownCost::PromptLength { model: model.into(), tier: tier.clone() },
        None => UnknownCost::Tier { model: model.into(), tier: tier.clone() },
    })
}

/// Returns an error for a usage larger than any response can have.
fn check(usage: &Usage) -> Result<(), UnknownCost> {
    match usage.is_plausible() {
        true => Ok(()),
        false => Err(UnknownCost::UnusableUsage { stated: format!("{} tokens", usage.total()).into() }),
    }
}

fn surcharge(model: &str, way: &Arc<str>) -> UnknownCost {
    UnknownCost::Surcharge { model: model.into(), way: Arc::clone(way) }
}

fn bound_of(
    model: &str,
    price: &ModelPrice,
    tier: &ServiceTier,
    [input, output]: [u64; 2],
    options: &PriceOptions,
) -> Result<Usd, UnknownCost> {
    // Returns an error if the table has no price for the longest prompt that the request may have.
    row(model, price, tier, input)?;
    let factors = price.factors(&options.surcharges).map_err(|way| surcharge(model, way))?;
    // A price for longer prompts may apply although the prompt is shorter than the bound, so all rows up to the bound
    // are compared.
    let rows = price.tier(tier).unwrap_or_default().iter().filter(|row| row.above < input.max(1));
    let bounds = rows.map(|row| {
        let mut sum = row.price.bound_sum(input, output, options.per_mille);
        factors.iter().for_each(|(_, factor)| sum.times(*factor));
        sum.rounded_up()
    });
    Ok(bounds.max().unwrap_or(Usd::ZERO))
}

/// Returns `true` if the name of the model that answered extends the name of the model requested for: `m-0125` for `m`,
/// `m-2512` for `m-latest`.
fn extends(named: &str, requested: &str) -> bool {
    let requested = requested.strip_suffix("-latest").unwrap_or(requested);
    named.strip_prefix(requested).is_some_and(|rest| rest.starts_with('-'))
}
