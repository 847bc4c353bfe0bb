//! Demands and settlements of calls, and their amounts in each unit.
//!
//! Only [`Demand`] and [`Settlement`] know how the unit of a limit is counted: for each limit's [`Kind`], a decision
//! calls [`Demand::amount`] and a settlement calls [`Settlement::amount`].

use std::{sync::Arc, time::Instant};

use llm_core::{Call, Labels, Operation, Priority, Tenant, Usage, Usd, layer::CallDeadline, price::PriceOptions};

use crate::{Unit, kind::Kind};

/// Largest amounts that a call takes from its limits, with the properties by which limits select calls.
///
/// ```
/// use llm_ratelimit::Demand;
///
/// let demand = Demand::new("acme", "gpt-4o-mini").tokens(1_200, 500).cost("$0.0005".parse()?).units(1, "proposals");
/// # let _ = demand;
/// # Ok::<_, llm_core::price::ParseUsdError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Demand {
    /// Tenant that makes the call.
    pub tenant: Tenant,
    /// Requested model.
    pub model: Arc<str>,
    /// Requested provider, if it is known. Only the prices of this provider then apply: see
    /// [`PriceTable`](llm_core::price::PriceTable).
    pub provider: Option<Arc<str>>,
    /// Labels of the call.
    pub labels: Labels,
    /// Priority, which decides the order in which waiting calls are served.
    pub priority: Priority,
    /// Time until which the call may wait. If several callers share the call, the time changes when a caller joins or
    /// cancels.
    pub(crate) deadline: CallDeadline,
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) cost: Option<Usd>,
    pub(crate) requests: u64,
    slots: u64,
    pub(crate) units: u64,
    unit: Option<Arc<str>>,
    /// Fallback models that may answer the call.
    pub(crate) fallback_models: Option<Arc<[Arc<str>]>>,
    /// True if the request contains content other than text (images, audio, files), or lets the vendor add content.
    pub(crate) opaque: bool,
    /// True if the call takes no input tokens, for example because it is for further output of a running stream.
    pub(crate) no_input: bool,
    /// True if the call takes no output tokens, for example because it is for embeddings.
    pub(crate) no_output: bool,
}

/// Models whose prices apply to the usage of a call: the requested model, and the fallback models that may have
/// answered.
#[derive(Clone, Debug)]
pub(crate) struct Models {
    asked: Arc<str>,
    fallbacks: Option<Arc<[Arc<str>]>>,
    provider: Option<Arc<str>>,
}

/// Result of a call that has ended, by which its reservation is settled.
///
/// ```
/// use llm_core::Usage;
/// use llm_ratelimit::{Demand, Limiter, Plans, Settlement};
///
/// # tokio_test::block_on(async {
/// let limiter = Limiter::builder(Plans::uniform(["10k tokens/day"])?).build()?;
/// let reservation = limiter.try_reserve(&Demand::new("acme", "gpt-4o-mini").tokens(900, 100))?;
/// reservation.settle(Settlement::Used { usage: Usage::new(850, 20), cost: None });
/// assert_eq!(limiter.usage("acme").await.iter().map(|status| status.used).sum::<u64>(), 870);
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settlement {
    /// The call was not sent, so no limit counts it.
    Unsent,
    /// The vendor refused the call. Tokens and money are not counted, but the request is.
    Refused,
    /// The call was sent, and its usage is unknown, so the whole reservation counts as used.
    Unknown,
    /// The call was sent, and its usage is known.
    Used {
        /// Used tokens.
        usage: Usage,
        /// Cost of the used tokens. With `None` the limiter computes it from its prices, at the dearest of the models
        /// that may have answered. If the limiter has no price, the reserved amount counts.
        cost: Option<Usd>,
    },
    /// The call was sent, and broke off after it had used at least this amount. Because the total usage is unknown,
    /// each limit counts the larger of this amount and the reservation.
    AtLeast {
        /// Lower bound of the used tokens.
        usage: Usage,
        /// Cost of these tokens; `None` as for [`Used`](Self::Used).
        cost: Option<Usd>,
    },
}

impl Demand {
    /// Creates the demand of one call: one request, one slot and one unit, and no tokens.
    pub fn new(tenant: impl Into<Tenant>, model: impl Into<Arc<str>>) -> Self {
        Self {
            tenant: tenant.into(),
            model: model.into(),
            provider: None,
            labels: Labels::default(),
            priority: Priority::default(),
            deadline: CallDeadline::default(),
            input: 0,
            output: 0,
            cost: None,
            requests: 1,
            slots: 1,
            units: 1,
            unit: None,
            fallback_models: None,
            opaque: false,
            no_input: false,
            no_output: false,
        }
    }

    /// Creates the demand of a call from its envelope, without tokens. The label `unit` names the unit that the call
    /// sells. Without that label, the call counts in limits on any such unit.
    pub fn of<T: Operation>(call: &Call<T>) -> Self {
        let unit = call.labels.get("unit").map(|unit| Unit::units(unit).name().into());
        Self {
            labels: call.labels.clone(),
            priority: call.priority,
            deadline: CallDeadline::of(call),
            units: call.units.into(),
            unit,
            ..Self::new(&call.tenant, call.body.shared_model())
        }
    }

    /// Sets the numbers of input and output tokens that the call may take. With zero nothing is reserved, but used
    /// tokens count in any case, and the call is refused by a limit that is exceeded.
    pub fn tokens(mut self, input: u64, output: u64) -> Self {
        (self.input, self.output) = (input, output);
        self
    }

    /// Sets the largest cost of the call. A negative amount is refused.
    pub fn cost(mut self, cost: Usd) -> Self {
        self.cost = Some(cost);
        self
    }

    /// Sets the number of units that the call sells, and the name of the unit, such as photos, proposals or test cases.
    pub fn units(mut self, count: u64, name: &str) -> Self {
        self.units = count;
        self.unit = Some(Unit::units(name).name().into());
        self
    }

    /// Sets the provider that will serve the call. Only the prices of this provider then apply.
    pub fn provider(mut self, name: impl Into<Arc<str>>) -> Self {
        self.provider = Some(name.into());
        self
    }

    /// Sets fallback models that may answer in place of the requested one. If no cost is set, the cost of the dearest
    /// model is reserved.
    pub fn fallback_models(mut self, models: impl Into<Arc<[Arc<str>]>>) -> Self {
        self.fallback_models = Some(models.into()).filter(|models| !models.is_empty());
        self
    }

    /// Sets the labels.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// Sets the priority.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the time until which the call may wait. In tests with paused time, compute it from
    /// `tokio::time::Instant::now().into_std()`.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline).into();
        self
    }

    /// Multiplies tokens and money by `attempts`, for a call that may be paid several times.
    pub(crate) fn times(mut self, attempts: u32) -> Self {
        let times = u64::from(attempts);
        self.input = self.input.saturating_mul(times);
        self.output = self.output.saturating_mul(times);
        let nanos = |cost: Usd| Usd::from_nanos(cost.nanos().saturating_mul(times.try_into().unwrap_or(i64::MAX)));
        self.cost = self.cost.map(nanos);
        self
    }

    /// Returns the amount to reserve in the unit of a rule; `None` if the rule does not count this call.
    ///
    /// Requests, units and slots are known in advance, so a zero amount is not held. Tokens and money are known only
    /// afterwards, so even a zero amount is held, and settled by the usage. An unknown cost is zero here, because calls
    /// without a price are refused earlier.
    pub(crate) fn amount(&self, kind: Kind, unit: Option<&Arc<str>>) -> Option<u64> {
        let known = |amount: u64| (amount > 0).then_some(amount);
        match kind {
            Kind::Requests => known(self.requests),
            Kind::Slots => known(self.slots),
            Kind::Units if self.unit.is_some() && self.unit.as_ref() != unit => None,
            Kind::Units => known(self.units),
            Kind::Input => Some(self.input),
            Kind::Output => Some(self.output),
            Kind::Tokens => Some(self.input.saturating_add(self.output)),
            Kind::Money => Some(self.cost.map_or(0, nanos)),
        }
    }

    /// Returns the amount for which a rule must have room now; `None` for tokens that the call cannot take. An amount
    /// of zero passes unless the limit is exceeded.
    pub(crate) fn needed(&self, kind: Kind, unit: Option<&Arc<str>>) -> Option<u64> {
        self.amount(kind, unit).filter(|amount| match kind {
            Kind::Input => *amount > 0 || !self.no_input,
            Kind::Output => *amount > 0 || !self.no_output,
            _ => true,
        })
    }

    /// Returns the demand of a running stream for further output tokens.
    pub(crate) fn portion(&self, output: u64) -> Self {
        Self { no_input: true, ..self.more(0, output) }
    }

    /// Returns the demand for the tokens of a further attempt or portion of the same call, which does not take a
    /// request, units or a slot again.
    pub(crate) fn more(&self, input: u64, output: u64) -> Self {
        Self { requests: 0, slots: 0, units: 0, cost: None, ..self.clone() }.tokens(input, output)
    }

    /// Returns the models that may be requested.
    pub(crate) fn models(&self) -> impl Iterator<Item = &str> {
        let fallbacks = self.fallback_models.iter().flat_map(|models| models.iter());
        std::iter::once(&*self.model).chain(fallbacks.map(|model| &**model))
    }

    /// Returns the options by which the call is priced.
    pub(crate) fn price_options(&self) -> PriceOptions {
        price_options(self.provider.as_ref())
    }

    /// Returns owned names of the models by which the call is priced, so that a running call can keep them.
    pub(crate) fn priced_as(&self) -> Models {
        let Self { model, fallback_models, provider, .. } = self;
        Models { asked: Arc::clone(model), fallbacks: fallback_models.clone(), provider: provider.clone() }
    }

    /// Returns `true` if a fallback model may answer.
    pub(crate) fn has_fallbacks(&self) -> bool {
        self.fallback_models.is_some()
    }

    /// Returns `true` if the tokens of the call have no upper bound.
    pub(crate) fn is_unbounded(&self) -> bool {
        self.input == u64::MAX || self.output == u64::MAX
    }

    pub(crate) fn volume(&self) -> u64 {
        self.input.saturating_add(self.output).max(1)
    }
}

impl Models {
    /// Returns the highest cost among the models; `None` if the cost at the price of one of them is unknown.
    pub(crate) fn highest_cost(&self, cost_at: impl Fn(&str, &PriceOptions) -> Option<Usd>) -> Option<Usd> {
        let options = price_options(self.provider.as_ref());
        let fallbacks = self.fallbacks.iter().flat_map(|models| models.iter()).map(|model| cost_at(model, &options));
        fallbacks.fold(cost_at(&self.asked, &options), |highest, cost| Some(highest?.max(cost?)))
    }
}

impl Settlement {
    /// Returns the amount that counts after the call, in place of `reserved`.
    pub(crate) fn amount(&self, kind: Kind, reserved: u64) -> u64 {
        match (self, kind) {
            (Self::AtLeast { usage, cost }, Kind::Input | Kind::Output | Kind::Tokens | Kind::Money) => {
                Self::Used { usage: *usage, cost: *cost }.amount(kind, reserved).max(reserved)
            }
            (_, Kind::Slots) | (Self::Unsent, _) => 0,
            (Self::Unknown, _) => reserved,
            (Self::Refused, Kind::Requests) => reserved,
            (Self::Refused, _) => 0,
            (Self::Used { .. } | Self::AtLeast { .. }, Kind::Requests | Kind::Units) => reserved,
            (Self::Used { usage, .. }, Kind::Input) => usage.input,
            (Self::Used { usage, .. }, Kind::Output) => usage.output,
            (Self::Used { usage, .. }, Kind::Tokens) => usage.total(),
            (Self::Used { cost, .. }, Kind::Money) => cost.map_or(reserved, nanos),
        }
    }
}

fn nanos(cost: Usd) -> u64 {
    u64::try_from(cost.nanos()).unwrap_or(0)
}

fn price_options(provider: Option<&Arc<str>>) -> PriceOptions {
    provider.into_iter().cloned().fold(PriceOptions::new(), PriceOptions::provider)
}
