//! Plans in the compiled form that decisions use.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    sync::{Arc, Mutex, PoisonError},
};

use foldhash::fast::RandomState;

use crate::{Demand, Limit, Plans, Unit, kind::Kind, scope::Scope};

/// Rules of all plans. They are replaced as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Rules by plan, in the order of their names.
    plans: Vec<Arc<PlanRules>>,
    tenants: Tenants,
    default: usize,
}

/// Positions in the list of plans, by tenant. The table is divided into shards, so that a changed copy shares all
/// shards but one with the original.
#[derive(Clone, Debug, Default)]
struct Tenants {
    hasher: RandomState,
    shards: Vec<Arc<HashMap<Box<str>, usize, RandomState>>>,
}

/// Rules for calls of one plan.
#[derive(Debug)]
pub(crate) struct PlanRules {
    pub(crate) name: Arc<str>,
    pub(crate) weight: u32,
    pub(crate) groups: Vec<Group>,
    /// True if a limit of the plan counts money.
    pub(crate) priced: bool,
}

/// Rules whose counters are in one account, because they have the same scope.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: u32,
    pub(crate) scope: Scope,
    /// Position of the first rule among all rules of the plan.
    pub(crate) first: usize,
    pub(crate) rules: Vec<Rule>,
}

/// Limit with its counter.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) id: u32,
    pub(crate) limit: Arc<Limit>,
    pub(crate) kind: Kind,
    /// Name of the application's unit; `None` if the rule counts a built-in one.
    pub(crate) unit: Option<Arc<str>>,
}

/// Numbers of scopes and counters. They stay the same while the limiter lives, so that a changed plan finds its
/// counters again. The tables contain every scope and counter that the operator's plans have ever named.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) scopes: Numbers<Scope>,
    /// Numbers of counters, by [`Quota::identity`](crate::Quota::identity).
    pub(crate) counters: Numbers<str>,
}

/// Table that gives each distinct value a number.
#[derive(Debug)]
pub(crate) struct Numbers<T: ?Sized>(Mutex<Vec<Arc<T>>>);

impl<T: PartialEq + ?Sized> Numbers<T> {
    pub(crate) fn id(&self, value: &T) -> u32
    where
        for<'a> &'a T: Into<Arc<T>>,
    {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = known.iter().position(|known| **known == *value).unwrap_or_else(|| {
            known.push(value.into());
            known.len() - 1
        });
        u32::try_from(at).expect("an operator names fewer limits than that")
    }

    pub(crate) fn get(&self, id: u32) -> Arc<T> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner)[id as usize])
    }
}

impl<T: ?Sized> Default for Numbers<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl From<&Scope> for Arc<Scope> {
    fn from(scope: &Scope) -> Self {
        Self::new(scope.clone())
    }
}

impl Rules {
    pub(crate) fn new(plans: &Plans, names: &Names) -> Self {
        let compiled: Vec<Arc<PlanRules>> = plans
            .iter()
            .map(|(name, plan)| PlanRules::new(name, plan.weight, plan.everything(plans.global()), names).into())
            .collect();
        let mut rules = Self { default: 0, tenants: Tenants::default(), plans: compiled };
        let at = |rules: &Self, name| rules.position(name).expect("plans are checked");
        rules.default = at(&rules, plans.default_name());
        for (tenant, plan) in plans.tenants() {
            let plan = at(&rules, plan);
            rules.tenants.insert(tenant, plan);
        }
        rules
    }

    /// Returns rules in which the tenant has this plan; `None` if there is no such plan.
    pub(crate) fn with_tenant(&self, tenant: &str, plan: &str) -> Option<Self> {
        let plan = self.position(plan)?;
        let mut changed = self.clone();
        changed.tenants.insert(tenant, plan);
        Some(changed)
    }

    fn position(&self, plan: &str) -> Option<usize> {
        self.plans.binary_search_by(|known| (*known.name).cmp(plan)).ok()
    }

    /// Returns the rules of a tenant's plan.
    #[inline]
    pub(crate) fn of(&self, tenant: &str) -> &Arc<PlanRules> {
        &self.plans[self.tenants.get(tenant).unwrap_or(self.default)]
    }

    /// Returns the limit that a counter belongs to, from any plan; `None` if no current plan has the limit.
    pub(crate) fn limit(&self, group: u32, counter: u32) -> Option<&Arc<Limit>> {
        let groups = self.plans.iter().flat_map(|plan| &plan.groups).filter(|found| found.id == group);
        groups.flat_map(|group| &group.rules).find(|rule| rule.id == counter).map(|rule| &rule.limit)
    }
}

impl Tenants {
    const SHARDS: usize = 256;

    #[inline]
    fn get(&self, tenant: &str) -> Option<usize> {
        if self.shards.is_empty() {
            return None;
        }
        self.shards[self.shard(tenant)].get(tenant).copied()
    }

    fn insert(&mut self, tenant: &str, plan: usize) {
        if self.shards.is_empty() {
            self.shards = vec![Arc::default(); Self::SHARDS];
        }
        let shard = self.shard(tenant);
        Arc::make_mut(&mut self.shards[shard]).insert(tenant.into(), plan);
    }

    fn shard(&self, tenant: &str) -> usize {
        (self.hasher.hash_one(tenant) % Self::SHARDS as u64) as usize
    }
}

impl PlanRules {
    fn new(name: &str, weight: u32, limits: impl Iterator<Item = Limit>, names: &Names) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for limit in limits {
            let id = names.scopes.id(limit.scope());
            let at = groups.iter().position(|group| group.id == id).unwrap_or_else(|| {
                groups.push(Group { id, scope: limit.scope().clone(), first: 0, rules: Vec::new() });
                groups.len() - 1
            });
            groups[at].rules.push(Rule::new(limit, names));
        }
        let mut first = 0;
        for group in &mut groups {
            group.first = first;
            first += group.rules.len();
        }
        let priced = groups.iter().flat_map(|group| &group.rules).any(|rule| rule.kind == Kind::Money);
        Self { name: name.into(), weight, groups, priced }
    }

    /// Returns all rules, group by group.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.groups.iter().flat_map(|group| &group.rules)
    }

    /// Returns the rule at a position among all rules.
    pub(crate) fn rule(&self, at: usize) -> Option<&Rule> {
        self.rules().nth(at)
    }

    /// Returns `true` if a limit of the plan counts in calendar windows.
    pub(crate) fn has_windows(&self) -> bool {
        self.rules().any(|rule| rule.limit.quota().windows().is_some())
    }
}

impl Rule {
    /// Returns the amount that a call reserves; `None` if the rule does not count the call.
    #[inline]
    pub(crate) fn amount(&self, demand: &Demand) -> Option<u64> {
        demand.amount(self.kind, self.unit.as_ref())
    }

    /// Returns the amount for which there must be room now; `None` if the call needs no room.
    #[inline]
    pub(crate) fn needed(&self, demand: &Demand) -> Option<u64> {
        demand.needed(self.kind, self.unit.as_ref())
    }

    fn new(limit: Limit, names: &Names) -> Self {
        let unit = match limit.quota().unit() {
            Unit::Units(unit) => Some(Arc::clone(unit.key())),
            _ => None,
        };
        Self {
            id: names.counters.id(&limit.quota().identity()),
            kind: Kind::of(limit.quota()),
            unit,
            limit: Arc::new(limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_plan_copies_one_shard_of_tenants() {
        let mut plans = Plans::uniform(["10/minute"]).unwrap();
        for tenant in 0..2_000 {
            plans = plans.tenant(format!("t{tenant}"), "default").unwrap();
        }
        let rules = Rules::new(&plans, &Names::default());
        let changed = rules.with_tenant("t7", "default").unwrap();
        let shards = rules.tenants.shards.iter().zip(&changed.tenants.shards);
        assert_eq!(shards.filter(|(one, other)| !Arc::ptr_eq(one, other)).count(), 1);
        assert!(rules.with_tenant("t7", "gold").is_none());
    }
}
