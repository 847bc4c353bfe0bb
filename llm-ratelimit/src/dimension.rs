//! Properties of a call whose values a limit can count separately.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::Demand;

/// Property of a call. A limit can count the calls of each value of it separately.
///
/// ```
/// use llm_ratelimit::{Dimension, Limit};
///
/// let limit: Limit = "20 concurrent per model for provider openai".parse()?;
/// assert_eq!(limit.dimensions(), [Dimension::Model]);
/// # Ok::<_, llm_ratelimit::QuotaError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Dimension {
    /// The tenant.
    Tenant,
    /// The tenant's plan.
    Plan,
    /// The model, as the call names it.
    Model,
    /// The provider, if the limiter knows it.
    Provider,
    /// The value of a label. All calls without this label count together.
    Label(Arc<str>),
}

impl Dimension {
    /// Returns the value of the dimension for a call; empty if the call has none.
    pub(crate) fn of<'a>(&self, demand: &'a Demand, plan: &'a str) -> &'a str {
        match self {
            Self::Tenant => &demand.tenant,
            Self::Plan => plan,
            Self::Model => &demand.model,
            Self::Provider => demand.provider.as_deref().unwrap_or_default(),
            Self::Label(name) => demand.labels.get(name).unwrap_or_default(),
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant => f.write_str("tenant"),
            Self::Plan => f.write_str("plan"),
            Self::Model => f.write_str("model"),
            Self::Provider => f.write_str("provider"),
            Self::Label(name) => write!(f, "label {name}"),
        }
    }
}
