//! Levels of a call's limits after its decision, and the statuses that are computed from them.
//!
//! A decision copies raw counters ([`Level`]) under the lock; amounts, times and header fields are computed when they are
//! read, so that a call whose statuses are not read pays only for the copy.

use std::{fmt, sync::Arc, time::Duration};

use llm_core::Reply;

use crate::{
    Limit, Quota, Unit,
    counter::{DecisionTime, Level, Levels},
    quota::{Span, scaled},
    rules::{PlanRules, Rule},
};

/// Status of one limit for a call, in the account that counts the call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitStatus {
    /// Limit that the status is for.
    pub limit: Arc<Limit>,
    /// Amount that the limit allows at once or in the window, at the present scale of limits, in tokens, nano-dollars,
    /// calls or units.
    pub amount: u64,
    /// Amount used, in the unit of `amount`. In a calendar window, it includes the debt of earlier windows. For a limit
    /// on concurrent calls, it is zero, because all running calls are `reserved`.
    pub used: u64,
    /// Amount that running calls have reserved. For a bucket, it is zero, because `used` includes the reserved amount.
    pub reserved: u64,
    /// Sum of the debt with which the window began, and of the debt that it has caused, which later windows must pay.
    pub debt: u64,
    /// Amount that is neither used nor reserved; zero if the limit is exceeded.
    pub remaining: u64,
    /// Time until the whole amount is available again; zero for a limit on concurrent calls.
    pub reset: Duration,
}

/// Status of all limits of a call, right after the call reserved or was refused. It is in the extensions of replies,
/// and in a [`Refusal`].
///
/// It holds the counters as they were after the decision, usually without an allocation. Each [`LimitStatus`] is
/// computed when it is read.
///
/// [`Refusal`]: crate::Refusal
///
/// ```
/// use llm_ratelimit::{Limiter, Plans, Unit};
///
/// # tokio_test::block_on(async {
/// let limiter = Limiter::builder(Plans::uniform(["10/minute", "5k tokens/day"])?).build()?;
/// let statuses = limiter.usage("acme").await;
/// assert_eq!(statuses.tightest(&Unit::Tokens).map(|status| status.remaining), Some(5_000));
/// assert!(statuses.headers().contains(&("x-ratelimit-limit-requests".to_owned(), "10".to_owned())));
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct LimitStatuses {
    plan: Arc<PlanRules>,
    at: DecisionTime,
    pub(crate) levels: Levels,
}

impl LimitStatus {
    /// Returns the status of a rule; `None` if the rule does not count the call.
    fn new(rule: &Rule, level: Level, at: DecisionTime) -> Option<Self> {
        let quota = rule.limit.quota();
        let amount = scaled(quota.most(), at.per_mille);
        let (used, reserved, debt, reset) = match (level, quota.span()) {
            (Level::Unused, _) => return None,
            (Level::Bucket(volume), Span::Bucket { period, burst }) => {
                let rate = quota.rate(*period, *burst, at.per_mille);
                (volume.amount(rate), 0, 0, volume.drains_in(rate))
            }
            (Level::Bucket(_), _) => return None,
            (Level::Window { used, reserved, debt, until }, _) => (used, reserved, debt, until.saturating_sub(at.now)),
            (Level::Slots(held), _) => (0, held, 0, 0),
        };
        let remaining = amount.saturating_sub(used).saturating_sub(reserved);
        let (limit, reset) = (Arc::clone(&rule.limit), Duration::from_nanos(reset));
        Some(Self { limit, amount, used, reserved, debt, remaining, reset })
    }
}

impl LimitStatuses {
    /// Creates statuses without levels, which are set later.
    pub(crate) fn new(plan: Arc<PlanRules>, at: DecisionTime) -> Self {
        Self { plan, at, levels: Levels::new() }
    }

    /// Sets levels that were computed at the time `now` of another clock.
    #[cfg(feature = "redis")]
    pub(crate) fn set(&mut self, levels: Levels, now: u64) {
        (self.levels, self.at.now) = (levels, now);
    }

    /// Returns the statuses in the extensions of a reply; `None` if no limiter has added them.
    pub fn of<O>(reply: &Reply<O>) -> Option<&Self> {
        reply.extensions.get()
    }

    /// Returns the statuses, those of limits for all tenants before those of the plan.
    pub fn iter(&self) -> impl Iterator<Item = LimitStatus> {
        let levels = self.plan.rules().zip(&self.levels);
        levels.filter_map(|(rule, level)| LimitStatus::new(rule, *level, self.at))
    }

    pub(crate) fn plan(&self) -> &PlanRules {
        &self.plan
    }

    /// Returns the status of the rule at position `at` in the plan.
    pub(crate) fn get(&self, at: usize) -> Option<LimitStatus> {
        LimitStatus::new(self.plan.rule(at)?, *self.levels.get(at)?, self.at)
    }

    /// Keeps only the statuses of limits for which `keeps` returns `true`.
    pub(crate) fn retain(mut self, keeps: impl Fn(&Limit) -> bool) -> Self {
        for (level, _) in self.levels.iter_mut().zip(self.plan.rules()).filter(|(_, rule)| !keeps(&rule.limit)) {
            *level = Level::Unused;
        }
        self
    }

    /// Returns the status with the smallest share left among the limits on `unit`, without limits on concurrent calls.
    pub fn tightest(&self, unit: &Unit) -> Option<LimitStatus> {
        let counts = |quota: &Quota| quota.unit() == unit && *quota.span() != Span::Concurrent;
        let counted = self.iter().filter(|status| counts(status.limit.quota()));
        counted.min_by_key(|status| u128::from(status.remaining) * 1_000_000 / u128::from(status.amount.max(1)))
    }

    /// Returns the names and values of `x-ratelimit-*` headers for requests and tokens, in OpenAI's form.
    pub fn headers(&self) -> Vec<(String, String)> {
        let listed = [(Unit::Requests, "requests"), (Unit::Tokens, "tokens")];
        let tightest = listed.into_iter().filter_map(|(unit, name)| Some((self.tightest(&unit)?, name)));
        tightest
            .flat_map(|(status, name)| {
                [
                    ("limit", status.amount.to_string()),
                    ("remaining", status.remaining.to_string()),
                    ("reset", Reset(status.reset).to_string()),
                ]
                .map(|(what, value)| (format!("x-ratelimit-{what}-{name}"), value))
            })
            .collect()
    }
}

impl PartialEq for LimitStatuses {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for LimitStatuses {}

impl fmt::Debug for LimitStatuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Duration that is displayed in the form of OpenAI's headers: `1h2m3.5s`, `250ms`.
pub(crate) struct Reset(pub(crate) Duration);

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_nanos().div_ceil(1_000_000);
        let (hours, minutes, rest) = (millis / 3_600_000, millis / 60_000 % 60, millis % 60_000);
        if millis < 1_000 {
            return write!(f, "{millis}ms");
        }
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}", rest / 1_000)?;
        if !rest.is_multiple_of(1_000) {
            f.write_str(format!(".{:03}", rest % 1_000).trim_end_matches('0'))?;
        }
        f.write_str("s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_headers_write_resets_as_vendors_do() {
        for (millis, text) in [(4, "4ms"), (1_000, "1s"), (360_000, "6m0s"), (3_723_500, "1h2m3.5s"), (8_640, "8.64s")]
        {
            assert_eq!(Reset(Duration::from_millis(millis)).to_string(), text);
        }
    }
}
