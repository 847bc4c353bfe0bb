//! Plans with their limits, and the plans of tenants, as an operator writes them. Decisions use the compiled form in
//! `rules.rs`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Dimension, Limit, QuotaError};

/// Plans with their limits, the plan of each tenant, and the limits for all tenants together.
///
/// ```
/// use llm_ratelimit::Plans;
///
/// let plans: Plans = serde_json::from_str(
///     r#"{
///         "default": "free",
///         "plans": {
///             "free": {"limits": ["10/minute", "5 proposals/month", "$0.20/day"]},
///             "pro": {"limits": ["100/minute", "$3/day in Europe/Berlin", "20 concurrent"], "weight": 4},
///             "unlimited": {}
///         },
///         "tenants": {"acme": "pro"},
///         "limits": ["$500/month", "1m tokens/minute per model"]
///     }"#,
/// )?;
/// assert_eq!(plans.plan_of("acme"), "pro");
/// assert_eq!(plans.plan_of("unknown"), "free");
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Plans {
    default: String,
    plans: BTreeMap<String, Plan>,
    tenants: BTreeMap<String, String>,
    limits: Vec<Limit>,
}

/// Plan of tenants, with its limits. A plan without limits admits every call.
///
/// ```
/// use llm_ratelimit::{Limit, Plan, Plans};
///
/// let limit = |text: &str| text.parse::<Limit>();
/// let free = Plan::new().limit(limit("10/minute")?).shared(limit("$50/day")?);
/// let pro = Plan::new().limit(limit("100/minute")?).weight(4);
/// let plans = Plans::new("free", free)?.with("pro", pro)?.tenant("acme", "pro")?;
/// assert_eq!(plans.plan_of("acme"), "pro");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Plan {
    /// Limits of each tenant of the plan.
    pub limits: Vec<Limit>,
    /// Limits of all tenants of the plan together.
    pub shared: Vec<Limit>,
    /// Weight of a tenant in the division of a scarce limit, relative to tenants of other plans; at least 1.
    pub weight: u32,
}

/// Error of invalid plans.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The text of a quota is invalid.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// The named plan does not exist.
    #[error("there is no plan {0:?}: add it to the plans, or name one of them")]
    NoSuchPlan(String),
    /// A limit is for the tenants of a plan that does not exist, so no call would count in it.
    #[error(
        "the limit {limit:?} is for plan {plan:?}, which does not exist: add the plan first, or name one that exists"
    )]
    UnknownFilter {
        /// Name of the plan.
        plan: String,
        /// Text of the limit.
        limit: String,
    },
    /// The weight of the plan with this name is zero.
    #[error("plan {0:?} has a weight of zero, so its tenants would wait for ever: give it at least 1")]
    Weight(String),
    /// Two limits would use the same counter.
    #[error("two limits of plan {plan:?} count the same: {limit:?} and another; leave one out")]
    Twice {
        /// Name of the plan.
        plan: String,
        /// Text of one of the two limits.
        limit: String,
    },
    /// The text in the environment variable is not a valid plan or limit.
    #[error("{name} holds no plans: {message}")]
    Environment {
        /// Name of the variable.
        name: &'static str,
        /// Description of the fault in the text.
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default = "default_name")]
    default: String,
    #[serde(default)]
    plans: BTreeMap<String, Plan>,
    #[serde(default)]
    tenants: BTreeMap<String, String>,
    #[serde(default)]
    limits: Vec<Limit>,
}

impl Plan {
    /// Creates a plan without limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a plan with these limits for each tenant, which are parsed from text.
    ///
    /// ```
    /// use llm_ratelimit::{Plan, Plans};
    ///
    /// let plans = Plans::new("free", Plan::with_limits(["10/minute"])?)?
    ///     .with("pro", Plan::with_limits(["100/minute", "$3/day in Europe/Berlin"])?.weight(4))?;
    /// # let _ = plans;
    /// # Ok::<_, llm_ratelimit::PlanError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The text of a limit is invalid.
    pub fn with_limits(limits: impl IntoIterator<Item: AsRef<str>>) -> Result<Self, PlanError> {
        let limits = limits.into_iter().map(|limit| limit.as_ref().parse()).collect::<Result<_, QuotaError>>()?;
        Ok(Self { limits, ..Self::default() })
    }

    /// Adds a limit for each tenant.
    pub fn limit(mut self, limit: impl Into<Limit>) -> Self {
        self.limits.push(limit.into());
        self
    }

    /// Adds a limit for all tenants of the plan together.
    pub fn shared(mut self, limit: impl Into<Limit>) -> Self {
        self.shared.push(limit.into());
        self
    }

    /// Sets the weight of a tenant of this plan in the division of a scarce limit.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }
}

impl Plans {
    /// Creates one plan for all tenants, with these limits for each tenant.
    ///
    /// # Errors
    ///
    /// The text of a limit is invalid, or two limits would use the same counter.
    ///
    /// ```
    /// use llm_ratelimit::Plans;
    ///
    /// let configured: Vec<String> = vec!["10/minute".into(), "$3/day".into()];
    /// assert_eq!(Plans::uniform(&configured)?, Plans::uniform(["10/minute", "$3/day"])?);
    /// # Ok::<_, llm_ratelimit::PlanError>(())
    /// ```
    pub fn uniform(limits: impl IntoIterator<Item: AsRef<str>>) -> Result<Self, PlanError> {
        Self::new("default", Plan::with_limits(limits)?)
    }

    /// Creates plans with a default plan, which applies to all tenants that are given no other.
    ///
    /// # Errors
    ///
    /// The weight is zero, or two limits would use the same counter.
    pub fn new(name: impl Into<String>, plan: Plan) -> Result<Self, PlanError> {
        let default = name.into();
        let plans = BTreeMap::from([(default.clone(), plan)]);
        Self { default, plans, tenants: BTreeMap::new(), limits: Vec::new() }.checked()
    }

    /// Adds a plan, or replaces the plan of this name.
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new).
    pub fn with(mut self, name: impl Into<String>, plan: Plan) -> Result<Self, PlanError> {
        self.plans.insert(name.into(), plan);
        self.checked()
    }

    /// Adds a limit for all tenants together.
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new).
    ///
    /// ```
    /// use llm_ratelimit::{Limit, Plans};
    ///
    /// let all_together: Limit = "$500/month".parse()?;
    /// let plans = Plans::uniform(["10/minute"])?.limit(all_together)?;
    /// # let _ = plans;
    /// # Ok::<_, llm_ratelimit::PlanError>(())
    /// ```
    pub fn limit(mut self, limit: impl Into<Limit>) -> Result<Self, PlanError> {
        self.limits.push(limit.into());
        self.checked()
    }

    /// Sets the plan of a tenant.
    ///
    /// # Errors
    ///
    /// The plan does not exist.
    pub fn tenant(mut self, tenant: impl Into<String>, plan: impl Into<String>) -> Result<Self, PlanError> {
        let plan = plan.into();
        if !self.has_plan(&plan) {
            return Err(PlanError::NoSuchPlan(plan));
        }
        self.tenants.insert(tenant.into(), plan);
        Ok(self)
    }

    /// Reads plans from environment variables, by a function that looks up a variable: `LLM_LIMITS` has the limits of
    /// each tenant, separated by semicolons, `LLM_PLANS` has plans as JSON. Without either there are no limits.
    ///
    /// ```
    /// use llm_ratelimit::Plans;
    ///
    /// let lookup = |name: &str| (name == "LLM_LIMITS").then(|| "10/minute; $3/day".to_owned());
    /// assert_eq!(Plans::from_env(lookup)?, Plans::uniform(["10/minute", "$3/day"])?);
    /// # Ok::<_, llm_ratelimit::PlanError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The text of a variable is invalid, or both are set.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, PlanError> {
        let wrong = |name, message: String| PlanError::Environment { name, message };
        match (lookup("LLM_LIMITS"), lookup("LLM_PLANS")) {
            (Some(_), Some(_)) => Err(wrong("LLM_LIMITS", "LLM_PLANS is set too; leave one out".to_owned())),
            (Some(limits), None) => Self::uniform(limits.split(';').map(str::trim).filter(|limit| !limit.is_empty()))
                .map_err(|error| wrong("LLM_LIMITS", error.to_string())),
            (None, Some(json)) => serde_json::from_str(&json).map_err(|error| wrong("LLM_PLANS", error.to_string())),
            (None, None) => Ok(Self::default()),
        }
    }

    /// Returns the name of a tenant's plan.
    pub fn plan_of(&self, tenant: &str) -> &str {
        self.tenants.get(tenant).unwrap_or(&self.default)
    }

    pub(crate) fn default_name(&self) -> &str {
        &self.default
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Plan)> {
        self.plans.iter().map(|(name, plan)| (name.as_str(), plan))
    }

    pub(crate) fn tenants(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tenants.iter().map(|(tenant, plan)| (tenant.as_str(), plan.as_str()))
    }

    pub(crate) fn global(&self) -> &[Limit] {
        &self.limits
    }

    fn has_plan(&self, name: &str) -> bool {
        #[cfg(test)]
        tests::LOOKUPS.with(|lookups| lookups.set(lookups.get() + 1));
        self.plans.contains_key(name)
    }

    fn checked(self) -> Result<Self, PlanError> {
        let mut named = std::iter::once(&self.default).chain(self.tenants.values());
        if let Some(name) = named.find(|name| !self.has_plan(name)) {
            return Err(PlanError::NoSuchPlan(name.clone()));
        }
        for (name, plan) in &self.plans {
            if plan.weight == 0 {
                return Err(PlanError::Weight(name.clone()));
            }
            let mut seen = BTreeSet::new();
            for limit in plan.everything(&self.limits) {
                let plans = limit.scope().filters().iter().filter(|(dimension, _)| *dimension == Dimension::Plan);
                if let Some((_, unknown)) = plans.into_iter().find(|(_, named)| !self.plans.contains_key(&**named)) {
                    return Err(PlanError::UnknownFilter { plan: unknown.to_string(), limit: limit.to_string() });
                }
                let counter = (limit.scope().clone(), limit.quota().identity());
                if !seen.insert(counter) {
                    return Err(PlanError::Twice { plan: name.clone(), limit: limit.to_string() });
                }
            }
        }
        Ok(self)
    }
}

impl Plan {
    /// Returns all limits that apply to calls of this plan. Limits of the plan get the dimension by which they also
    /// count separately, which is the tenant, or the plan for shared limits.
    pub(crate) fn everything<'a>(&'a self, global: &'a [Limit]) -> impl Iterator<Item = Limit> + 'a {
        use Dimension::{Plan, Tenant};
        let own = self.limits.iter().map(|limit| limit.clone().per(Tenant));
        let shared = self.shared.iter().map(|limit| limit.clone().per(Plan));
        global.iter().cloned().chain(shared).chain(own)
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self { limits: Vec::new(), shared: Vec::new(), weight: 1 }
    }
}

impl Default for Plans {
    /// Creates a single plan without limits, for all tenants.
    fn default() -> Self {
        let plans = BTreeMap::from([(default_name(), Plan::default())]);
        Self { default: default_name(), plans, tenants: BTreeMap::new(), limits: Vec::new() }
    }
}

impl TryFrom<Raw> for Plans {
    type Error = PlanError;

    fn try_from(raw: Raw) -> Result<Self, PlanError> {
        let Raw { default, mut plans, tenants, limits } = raw;
        if plans.is_empty() {
            plans.insert(default.clone(), Plan::default());
        }
        Self { default, plans, tenants, limits }.checked()
    }
}

fn default_name() -> String {
    "default".to_owned()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// Number of look-ups of a plan by its name.
        pub(super) static LOOKUPS: Cell<usize> = const { Cell::new(0) };
    }

    #[test]
    fn plans_tenant_looks_at_one_plan() {
        let mut plans = Plans::uniform(["10/minute"]).unwrap();
        let before = LOOKUPS.get();
        for tenant in 0..1_000 {
            plans = plans.tenant(format!("t{tenant}"), "default").unwrap();
        }
        assert_eq!(LOOKUPS.get() - before, 1_000);
        assert!(matches!(plans.tenant("acme", "gold"), Err(PlanError::NoSuchPlan(name)) if name == "gold"));
    }

    #[test]
    fn plans_with_errors_are_refused() {
        for (json, what) in [
            (r#"{"default": "gold"}"#, ""),
            (r#"{"default": "gold", "plans": {"free": {}}}"#, "no plan \"gold\""),
            (r#"{"plans": {"default": {}}, "tenants": {"a": "pro"}}"#, "no plan \"pro\""),
            (r#"{"plans": {"default": {"weight": 0}}}"#, "weight of zero"),
            (r#"{"plans": {"default": {"limits": ["0/minute"]}}}"#, "zero"),
            (r#"{"plans": {"default": {"limits": ["5/minute", "9/minute"]}}}"#, "count the same"),
            (
                r#"{"plans": {"default": {"limits": ["5/minute"]}}, "limits": ["9/minute per tenant"]}"#,
                "count the same",
            ),
            (r#"{"plan": {}}"#, "unknown field"),
            (r#"{"limits": ["5/minute for plan default"]}"#, ""),
            (r#"{"limits": ["5/minute for plan gold"]}"#, "for plan \"gold\", which does not exist"),
            (r#"{"plans": {"default": {"shared": ["5/minute for plan gold"]}}}"#, "for plan \"gold\""),
        ] {
            match serde_json::from_str::<Plans>(json) {
                Ok(plans) => assert!(what.is_empty(), "{json} made {plans:?}"),
                Err(error) => assert!(!what.is_empty() && error.to_string().contains(what), "{json}: {error}"),
            }
        }
    }

    #[test]
    fn are_written_as_they_are_read() {
        let plans = Plans::uniform(["10/minute", "$3/day"])
            .unwrap()
            .limit("5/minute per model".parse::<Limit>().unwrap())
            .unwrap();
        let json = serde_json::to_string(&plans).unwrap();
        assert_eq!(serde_json::from_str::<Plans>(&json).unwrap(), plans);
        for wrong in [("LLM_PLANS", "{"), ("LLM_LIMITS", "many")] {
            let lookup = |name: &str| (name == wrong.0).then(|| wrong.1.to_owned());
            assert!(Plans::from_env(lookup).unwrap_err().to_string().contains(wrong.0));
        }
    }
}
