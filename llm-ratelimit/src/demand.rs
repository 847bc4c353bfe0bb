//! Demands and settlements of calls, and their amounts in each unit.
//!
//! [`Demand`] and [`Settlement`] are the only places that know how a unit is counted: a decision asks
//! [`Demand::amount`], and a settlement [`Settlement::amount`], for each limit's [`Kind`].

use std::{sync::Arc, time::Instant};

use llm_core::{Call, Labels, Operation, Priority, Tenant, Usage, Usd, layer::CallDeadline, price::PriceOptions};

use crate::{Unit, kind::Kind};

/// Amounts that a call may take of its limits, with the properties by which limits select calls.
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
    /// Tenant of the call.
    pub tenant: Tenant,
    /// Requested model.
    pub model: Arc<str>,
    /// Requested provider, if it is known. Then only its own prices apply: see
    /// [`PriceTable`](llm_core::price::PriceTable).
    pub provider: Option<Arc<str>>,
    /// Labels of the call.
    pub labels: Labels,
    /// Order in which waiting calls are served.
    pub priority: Priority,
    /// Deadline of the wait. That of a shared call moves as its callers join and leave.
    pub(crate) deadline: CallDeadline,
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) cost: Option<Usd>,
    pub(crate) requests: u64,
    slots: u64,
    pub(crate) units: u64,
    unit: Option<Arc<str>>,
    /// Further models that the call may reach.
    pub(crate) fallback_models: Option<Arc<[Arc<str>]>>,
    /// True if the request holds content other than text (images, audio, files), or has the vendor find some.
    pub(crate) opaque: bool,
    /// True if the call cannot take input tokens: further output of a running stream.
    pub(crate) no_input: bool,
    /// True if the call cannot take output tokens: embeddings.
    pub(crate) no_output: bool,
}

/// Models by which known usage is priced: the requested one, and others that may have answered.
#[derive(Clone, Debug)]
pub(crate) struct Models {
    asked: Arc<str>,
    fallbacks: Option<Arc<[Arc<str>]>>,
    provider: Option<Arc<str>>,
}

/// Usage of a call that has ended.
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
    /// The call was not sent, so nothing counts.
    Unsent,
    /// The call was sent and refused. Nothing is charged, and the request counts.
    Refused,
    /// The call was sent and its usage is unknown, so the whole reservation counts.
    Unknown,
    /// The usage is known.
    Used {
        /// The tokens.
        usage: Usage,
        /// The cost of these tokens. If it is `None`, the limiter's own prices apply, those of the dearest model that
        /// may have answered; if they have none, the reserved money counts.
        cost: Option<Usd>,
    },
    /// The call was sent and broke off after at least this usage. Its whole usage is unknown, so the greater of this
    /// and the reservation counts in each limit.
    AtLeast {
        /// The tokens.
        usage: Usage,
        /// The cost of these tokens; `None` as in [`Used`](Self::Used).
        cost: Option<Usd>,
    },
}

impl Demand {
    /// Creates the demand of one call, which so far takes one request, one slot and one unit.
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

    /// Creates the demand of a call from its envelope, without tokens. A label `unit` names its units; without it, they
    /// count in every limit on units.
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

    /// Sets the numbers of input and output tokens that the call may take. Zero reserves nothing, but what the call used counts all the
    /// same, and a limit that is exceeded refuses it.
    pub fn tokens(mut self, input: u64, output: u64) -> Self {
        (self.input, self.output) = (input, output);
        self
    }

    /// Sets the most that the call may cost. A negative amount is refused when it is reserved.
    pub fn cost(mut self, cost: Usd) -> Self {
        self.cost = Some(cost);
        self
    }

    /// Sets the number of units, and their name: photos, proposals, test cases.
    pub fn units(mut self, count: u64, name: &str) -> Self {
        self.units = count;
        self.unit = Some(Unit::units(name).name().into());
        self
    }

    /// Sets the provider.
    pub fn provider(mut self, name: impl Into<Arc<str>>) -> Self {
        self.provider = Some(name.into());
        self
    }

    /// Names further models that may be asked in place of this one. Where no cost is set, that of the dearest is reserved.
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

    /// Sets the time until which the call may wait. In tests: `tokio::time::Instant::now().into_std()` and later.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline).into();
        self
    }

    /// Multiplies tokens and money, for a call that may be paid several times.
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
    /// Requests, units and slots are known beforehand, so zero of them is nothing. Tokens and money are known only
    /// afterwards, so zero of them is held too, and settled by what the call used. Money that is not known is zero here;
    /// a call without a price is refused before.
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

    /// Returns the amount for which a rule must have room now; `None` for tokens that the call cannot take. Zero passes
    /// only if the limit is not exceeded.
    pub(crate) fn needed(&self, kind: Kind, unit: Option<&Arc<str>>) -> Option<u64> {
        self.amount(kind, unit).filter(|amount| match kind {
            Kind::Input => *amount > 0 || !self.no_input,
            Kind::Output => *amount > 0 || !self.no_output,
            _ => true,
        })
    }

    /// Returns the demand for further output tokens of a running stream.
    pub(crate) fn portion(&self, output: u64) -> Self {
        Self { no_input: true, ..self.more(0, output) }
    }

    /// Returns the tokens of one more attempt or portion of the same call, which takes no request, units or slot again.
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

    /// Returns the models by which the call is priced, in owned form, so that a running call can keep them.
    pub(crate) fn priced_as(&self) -> Models {
        let Self { model, fallback_models, provider, .. } = self;
        Models { asked: Arc::clone(model), fallbacks: fallback_models.clone(), provider: provider.clone() }
    }

    /// Returns true if a model other than the requested one may respond.
    pub(crate) fn has_fallbacks(&self) -> bool {
        self.fallback_models.is_some()
    }

    /// Returns true if nothing bounds the call's tokens.
    pub(crate) fn is_unbounded(&self) -> bool {
        self.input == u64::MAX || self.output == u64::MAX
    }

    pub(crate) fn volume(&self) -> u64 {
        self.input.saturating_add(self.output).max(1)
    }
}

impl Models {
    /// Returns the highest cost among the models; `None` if the cost of one is unknown.
    pub(crate) fn highest_cost(&self, cost_at: impl Fn(&str, &PriceOptions) -> Option<Usd>) -> Option<Usd> {
        let options = price_options(self.provider.as_ref());
        let fallbacks = self.fallbacks.iter().flat_map(|models| models.iter()).map(|model| cost_at(model, &options));
        fallbacks.fold(cost_at(&self.asked, &options), |highest, cost| Some(highest?.max(cost?)))
    }
}

impl Settlement {
    /// Returns the amount that counts in place of the reserved one.
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
