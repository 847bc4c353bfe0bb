//! Decisions while the server is away.

use std::sync::Arc;

use super::question::RuleNeed;
use crate::{
    Limit, Reason,
    account_table::AccountTable,
    accounts::{Accounts, Decision, DecisionRequest, Standing},
    blocked::Blocked,
    counter::{DecisionTime, Level},
    rules::{Group, PlanRules},
};

/// Policy of a limit while its accounts in Redis cannot be reached.
///
/// ```
/// use std::num::NonZeroU32;
///
/// use llm_ratelimit::{Limit, OutagePolicy, RedisAccounts, llm_redis::Redis};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = Redis::builder("redis://127.0.0.1:1").spawn()?;
/// let instances = NonZeroU32::new(4).ok_or("zero")?;
/// let concurrent: Limit = "20 concurrent".parse()?;
/// let builder = RedisAccounts::builder(redis, instances).on_outage(move |limit| match limit == &concurrent {
///     true => OutagePolicy::Allow,
///     false => OutagePolicy::Refuse,
/// });
/// # let _ = builder;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutagePolicy {
    /// Refuses every call that the limit counts.
    Refuse,
    /// Lets calls pass, and counts them once Redis is back.
    Allow,
    /// Lets as much pass as this process's share, the limit divided by the number of instances (at least 1), and counts it
    /// once Redis is back.
    LocalShare,
}

/// The policy of limits that have no other one: calendar windows refuse, rates and calls at one time have a local share.
pub(super) fn default_policy(limit: &Limit) -> OutagePolicy {
    match limit.quota().windows() {
        Some(_) => OutagePolicy::Refuse,
        None => OutagePolicy::LocalShare,
    }
}

/// Accounts of this process, for the time of an outage.
#[derive(Debug)]
pub(super) struct LocalShare {
    pub(super) table: AccountTable,
    pub(super) instances: u32,
}

/// Way in which a call was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Refused,
    Allowed,
    Local,
}

impl LocalShare {
    /// Decides by the limits' policies, and takes local shares. In place of an account of the table, the decision names the
    /// one in Redis that it stands for.
    pub(super) fn decide(
        &self,
        needs: &[&RuleNeed],
        request: &DecisionRequest<'_>,
        decision: &mut Decision,
        policy: &dyn Fn(&Limit) -> OutagePolicy,
    ) -> Outcome {
        let refuses = |limit: &Limit| policy(limit) == OutagePolicy::Refuse;
        let is_counted = request.standing != Standing::Regardless;
        if is_counted && needs.iter().any(|need| need.need.or(need.take).is_some() && refuses(&need.rule.limit)) {
            decision.refused = Some(Reason::Unavailable);
            return Outcome::Refused;
        }
        let shared = |limit: &Limit| policy(limit) == OutagePolicy::LocalShare;
        let plan = Arc::new(confined(request.plan, shared));
        let per_mille = (request.at.per_mille / self.instances).max(1);
        let request = DecisionRequest { plan: &plan, at: DecisionTime { per_mille, ..request.at }, ..*request };
        let mut local = Decision::new(&request);
        self.table.try_decide(&request, &mut local);
        decision.blocked = local.blocked.and_then(|blocked| renamed(needs, &plan, &blocked));
        decision.statuses.levels = levels(decision.statuses.plan(), &plan, &local);
        decision.held.holds = std::mem::take(&mut local.held.holds);
        match (decision.blocked, needs.iter().any(|need| shared(&need.rule.limit))) {
            (None, false) => Outcome::Allowed,
            _ => Outcome::Local,
        }
    }
}

/// Returns a plan with the same groups, of the rules whose limits are kept.
fn confined(plan: &PlanRules, keeps: impl Fn(&Limit) -> bool) -> PlanRules {
    let mut first = 0;
    let confined = |group: &Group| {
        let mut group = group.clone();
        group.rules.retain(|rule| keeps(&rule.limit));
        group.first = first;
        first += group.rules.len();
        group
    };
    let groups = plan.groups.iter().map(confined).collect();
    PlanRules { name: Arc::clone(&plan.name), weight: plan.weight, groups, priced: plan.priced }
}

/// Returns an obstacle of a confined plan as one of the whole plan.
fn renamed(needs: &[&RuleNeed], plan: &PlanRules, blocked: &Blocked) -> Option<Blocked> {
    let rule = blocked.rule.map(|rule| plan.groups[usize::from(blocked.group)].rules[usize::from(rule)].id);
    let of_group = |counter: Option<u32>| {
        needs.iter().find(|need| need.group == blocked.group && counter.is_none_or(|id| need.rule.id == id))
    };
    let need = of_group(rule)?;
    Some(Blocked { account_ref: Some(need.account_ref), rule: rule.map(|_| need.position), ..*blocked })
}

/// Returns the levels of all rules of a plan, of which a part was decided.
fn levels(plan: &PlanRules, confined: &PlanRules, local: &Decision) -> crate::counter::Levels {
    let mut decided = confined.rules().zip(&local.statuses.levels).peekable();
    let level = |id: u32| decided.next_if(|(rule, _)| rule.id == id).map_or(Level::Unused, |(_, level)| *level);
    let mut level = level;
    plan.rules().map(|rule| level(rule.id)).collect()
}
