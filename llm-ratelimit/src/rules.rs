//! Plans as decisions need them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use foldhash::fast::RandomState;

use crate::{Demand, Dimension, Limit, Plans, Unit, quota::Span};

/// All plans. Replaced as a whole.
#[derive(Debug)]
pub(crate) struct Rules {
    plans: Vec<PlanRules>,
    tenants: HashMap<Box<str>, usize, RandomState>,
    default: usize,
}

/// All that a call of one plan meets.
#[derive(Debug)]
pub(crate) struct PlanRules {
    pub(crate) name: Arc<str>,
    pub(crate) weight: u32,
    pub(crate) groups: Vec<Group>,
    /// Whether a limit counts money.
    pub(crate) priced: bool,
    /// Whether all limits are counted by tenant alone, and none counts money.
    own: bool,
}

/// Limits whose counters are in one account: those of the same aspects.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: u32,
    pub(crate) per: Vec<Dimension>,
    only: Vec<(Dimension, Arc<str>)>,
    pub(crate) rules: Vec<Rule>,
}

/// One limit and its counter.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: u32,
    pub(crate) limit: Arc<Limit>,
    pub(crate) kind: Kind,
    /// Which units, where it counts units.
    pub(crate) unit: Option<Arc<str>>,
}

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Requests,
    Input,
    Output,
    Tokens,
    Money,
    Units,
    Slots,
}

/// Numbers for names of counters and groups, for as long as the limiter lives: a changed plan finds its counters again.
/// As many as the operator's plans ever named.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<Vec<Arc<str>>>);

impl Names {
    pub(crate) fn id(&self, name: &str) -> u32 {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = names.iter().position(|known| **known == *name).unwrap_or_else(|| {
            names.push(name.into());
            names.len() - 1
        });
        u32::try_from(at).expect("an operator names fewer limits than that")
    }

    /// The groups that count apart by an aspect, and where among their values it is.
    pub(crate) fn groups_of(&self, aspect: &str) -> Vec<(u32, usize)> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let groups = names.iter().enumerate().filter_map(|(id, name)| {
            let mut aspects = name.split("per ").skip(1).map(|rest| rest.split(" for ").next().unwrap_or(rest).trim());
            Some((u32::try_from(id).ok()?, aspects.position(|known| known == aspect)?))
        });
        groups.collect()
    }

    pub(crate) fn name(&self, id: u32) -> Arc<str> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner)[id as usize])
    }
}

impl Rules {
    pub(crate) fn new(plans: &Plans, names: &Names) -> Self {
        let compiled: Vec<PlanRules> = plans
            .iter()
            .map(|(name, plan)| PlanRules::new(name, plan.weight, plan.everything(plans.global()), names))
            .collect();
        let at = |name: &str| compiled.iter().position(|plan| *plan.name == *name).expect("plans are checked");
        let tenants = plans.tenants().map(|(tenant, plan)| (tenant.into(), at(plan))).collect();
        Self { default: at(plans.default_name()), tenants, plans: compiled }
    }

    /// The rules for a tenant.
    pub(crate) fn of(&self, tenant: &str) -> &PlanRules {
        let known = if self.tenants.is_empty() { None } else { self.tenants.get(tenant) };
        &self.plans[known.copied().unwrap_or(self.default)]
    }

    /// The limit behind a counter, in whichever plan has it.
    pub(crate) fn limit(&self, group: u32, counter: u32) -> Option<&Arc<Limit>> {
        let groups = self.plans.iter().flat_map(|plan| &plan.groups).filter(|found| found.id == group);
        groups.flat_map(|group| &group.rules).find(|rule| rule.id == counter).map(|rule| &rule.limit)
    }
}

impl PlanRules {
    fn new(name: &str, weight: u32, limits: impl Iterator<Item = Limit>, names: &Names) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for limit in limits {
            let id = names.id(&Group::name(&limit));
            let at = groups.iter().position(|group| group.id == id).unwrap_or_else(|| {
                let (per, only) = (limit.dimensions().to_vec(), limit.confines().to_vec());
                groups.push(Group { id, per, only, rules: Vec::new() });
                groups.len() - 1
            });
            groups[at].rules.push(Rule::new(limit, names));
        }
        let priced = groups.iter().flat_map(|group| &group.rules).any(|rule| rule.kind == Kind::Money);
        let own = match &*groups {
            [group] => !priced && group.only.is_empty() && *group.per == [Dimension::Tenant],
            _ => false,
        };
        Self { name: name.into(), weight, groups, priced, own }
    }

    /// The only group, if all limits are counted by tenant alone and none counts money.
    pub(crate) fn own(&self) -> Option<&Group> {
        if self.own { self.groups.first() } else { None }
    }

    /// Whether a limit counts in calendar windows.
    pub(crate) fn has_windows(&self) -> bool {
        let rules = self.groups.iter().flat_map(|group| &group.rules);
        rules.map(|rule| rule.limit.quota()).any(|quota| quota.windows().is_some())
    }
}

impl Group {
    /// Whether a call is among those that its limits are confined to.
    pub(crate) fn applies(&self, demand: &Demand, plan: &str) -> bool {
        self.only.iter().all(|(aspect, value)| aspect.of(demand, plan) == &**value)
    }

    fn name(limit: &Limit) -> String {
        let per = limit.dimensions().iter().map(|aspect| format!("per {aspect} "));
        let only = limit.confines().iter().map(|(aspect, value)| format!("for {aspect}={value} "));
        per.chain(only).collect()
    }
}

impl Rule {
    fn new(limit: Limit, names: &Names) -> Self {
        let unit = match limit.quota().measure() {
            Unit::Units(unit) => Some(Arc::clone(unit.key())),
            _ => None,
        };
        Self { id: names.id(&limit.quota().identity()), kind: Kind::of(&limit), unit, limit: Arc::new(limit) }
    }
}

impl Kind {
    /// In one word, for metrics. What the application sells has no name of its own here: there may be many.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Input => "input tokens",
            Self::Output => "output tokens",
            Self::Tokens => "tokens",
            Self::Money => "money",
            Self::Units => "units",
            Self::Slots => "calls at one time",
        }
    }

    fn of(limit: &Limit) -> Self {
        if let Span::Concurrent = limit.quota().span() {
            return Self::Slots;
        }
        match limit.quota().measure() {
            Unit::Requests => Self::Requests,
            Unit::Input => Self::Input,
            Unit::Output => Self::Output,
            Unit::Tokens => Self::Tokens,
            Unit::Money => Self::Money,
            Unit::Units(_) => Self::Units,
        }
    }
}
