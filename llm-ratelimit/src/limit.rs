//! Limit: a quota, and a scope that selects the calls that it counts together.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Dimension, Quota, QuotaError, scope::Scope};

/// Limit: a quota, with a scope that selects the calls that it counts together.
///
/// The text of a limit is its quota, then optionally `per` and a dimension whose values are counted separately, then
/// optionally `for` and a value, if the limit counts only calls with that value:
///
/// | text | meaning |
/// |---|---|
/// | `1000/minute` | one counter: for each tenant in a plan, for all tenants outside of plans |
/// | `$100/day per provider` | one for each provider |
/// | `100k tokens/minute per model` | one for each model |
/// | `20 concurrent for model gpt-4o` | only calls of that model |
/// | `3/minute per label user` | one for each value of a label |
/// | `$5/day for label feature=chat` | only calls with that label |
///
/// In a plan, a limit counts separately for each tenant; in [`Plan::shared`](crate::Plan) for all tenants of the plan
/// together; outside of plans for all tenants together.
///
/// ```
/// use llm_ratelimit::{Dimension, Limit, Quota};
///
/// let limit: Limit = "3 requests/minute per label user".parse()?;
/// let quota: Quota = "3/minute".parse()?;
/// assert_eq!(limit, Limit::new(quota).per(Dimension::Label("user".into())));
/// # Ok::<_, llm_ratelimit::QuotaError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    quota: Quota,
    scope: Scope,
}

impl Limit {
    /// Creates a limit that counts all calls together.
    pub fn new(quota: Quota) -> Self {
        Self { quota, scope: Scope::default() }
    }

    /// Adds a dimension, so that the limit counts the calls of each of its values separately.
    pub fn per(mut self, dimension: Dimension) -> Self {
        self.scope.per(dimension);
        self
    }

    /// Restricts the limit to calls with this value of a dimension.
    ///
    /// ```
    /// use llm_ratelimit::{Dimension, Limit};
    ///
    /// let limit = Limit::new("20 concurrent".parse()?).only(Dimension::Model, "gpt-4o");
    /// assert_eq!(limit, "20 concurrent for model gpt-4o".parse()?);
    /// # Ok::<_, llm_ratelimit::QuotaError>(())
    /// ```
    pub fn only(mut self, dimension: Dimension, value: impl Into<Arc<str>>) -> Self {
        self.scope.only(dimension, value.into());
        self
    }

    /// Returns the quota of the limit, without its scope.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Returns the dimensions whose values the limit counts separately.
    pub fn dimensions(&self) -> &[Dimension] {
        self.scope.dimensions()
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }
}

impl From<Quota> for Limit {
    fn from(quota: Quota) -> Self {
        Self::new(quota)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.quota, self.scope)
    }
}

impl FromStr for Limit {
    type Err = QuotaError;

    fn from_str(text: &str) -> Result<Self, QuotaError> {
        let odd = || QuotaError::Odd(text.chars().take(64).collect());
        let mut words = text.split_whitespace().peekable();
        let mut quota = Vec::new();
        let is_quota = |word: &&str| !["per", "for"].iter().any(|next| word.eq_ignore_ascii_case(next));
        while let Some(word) = words.next_if(is_quota) {
            quota.push(word);
        }
        let mut limit = Self::new(quota.join(" ").parse()?);
        while let Some(word) = words.next() {
            let name = words.next().ok_or_else(odd)?;
            let mut value = || words.next().ok_or_else(odd);
            match (&*word.to_ascii_lowercase(), &*name.to_ascii_lowercase()) {
                ("per", "label") => limit = limit.per(Dimension::Label(value()?.into())),
                ("for", "label") => {
                    let label = value()?;
                    let (name, value) = label.split_once('=').ok_or_else(|| QuotaError::Label(label.into()))?;
                    limit = limit.only(Dimension::Label(name.into()), value);
                }
                ("per", name) => limit = limit.per(named(name)?),
                ("for", name) => limit = limit.only(named(name)?, value()?),
                _ => return Err(odd()),
            }
        }
        Ok(limit)
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

fn named(name: &str) -> Result<Dimension, QuotaError> {
    let mut known = [Dimension::Tenant, Dimension::Plan, Dimension::Model, Dimension::Provider].into_iter();
    known
        .find(|dimension| dimension.to_string() == name)
        .ok_or_else(|| QuotaError::Dimension(name.chars().take(64).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_text_round_trips() {
        for text in [
            "1000 requests/minute",
            "$100.00/day in Europe/Berlin per provider",
            "20 concurrent per tenant per model for model gpt-4o",
            "3 requests/minute per label user for label feature=chat",
        ] {
            assert_eq!(text.parse::<Limit>().unwrap().to_string(), text);
        }
        for (odd, what) in [
            ("5/minute per", "nothing after"),
            ("5/minute per planet", "\"planet\""),
            ("5/minute for model", "nothing after"),
            ("5/minute for label x", "label x=value"),
            ("5/minute per model x", "says something twice"),
        ] {
            let error = odd.parse::<Limit>().expect_err(odd).to_string();
            assert!(error.contains(what), "{odd}: {error}");
        }
    }
}
