//! Settings of a limiter that an operator changes at run time.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use arc_swap::ArcSwap;
use llm_core::Priority;

use crate::{Demand, Reason};

/// Largest number of rules for shedding calls.
pub(crate) const MAX_SHED: usize = 64;

/// Kind of calls that are refused at once during an emergency.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shed {
    /// Calls with this priority.
    Priority(Priority),
    /// Calls of tenants on this plan.
    Plan(Arc<str>),
    /// Calls with this label.
    Label {
        /// Name of the label.
        name: Arc<str>,
        /// Value of the label.
        value: Arc<str>,
    },
}

/// Emergency settings, which an operator changes.
#[derive(Debug)]
pub(crate) struct Controls {
    per_mille: AtomicU32,
    cache_only: AtomicBool,
    sheds: AtomicBool,
    shed: ArcSwap<Vec<Shed>>,
}

impl Controls {
    pub(crate) fn scale(&self, per_mille: u32) {
        self.per_mille.store(per_mille, Relaxed);
    }

    /// Adds a rule for shedding calls. Returns `false` if there are too many rules.
    pub(crate) fn shed(&self, what: Shed) -> bool {
        let mut taken = false;
        self.shed.rcu(|known| {
            let mut known = Vec::clone(known);
            taken = known.contains(&what) || known.len() < MAX_SHED;
            if taken && !known.contains(&what) {
                known.push(what.clone());
            }
            known
        });
        self.sheds.store(true, Relaxed);
        taken
    }

    pub(crate) fn cache_only(&self, on: bool) {
        self.cache_only.store(on, Relaxed);
    }

    pub(crate) fn restore(&self) {
        let Self { per_mille, cache_only, sheds, shed } = self;
        per_mille.store(1_000, Relaxed);
        cache_only.store(false, Relaxed);
        sheds.store(false, Relaxed);
        shed.store(Arc::default());
    }

    pub(crate) fn per_mille(&self) -> u32 {
        self.per_mille.load(Relaxed)
    }

    /// Returns `true` if an operator has some calls refused even if there is room.
    pub(crate) fn refuses(&self) -> bool {
        self.cache_only.load(Relaxed) || self.sheds.load(Relaxed)
    }

    /// Returns the reason for which an operator has the call refused even if there is room; `None` if there is no such
    /// reason.
    pub(crate) fn refuse(&self, demand: &Demand, plan: &str) -> Option<Reason> {
        if self.cache_only.load(Relaxed) {
            return Some(Reason::CacheOnly);
        }
        if !self.sheds.load(Relaxed) {
            return None;
        }
        let is_shed = |shed: &Shed| match shed {
            Shed::Priority(priority) => demand.priority == *priority,
            Shed::Plan(name) => **name == *plan,
            Shed::Label { name, value } => demand.labels.get(name) == Some(value),
        };
        self.shed.load().iter().any(is_shed).then_some(Reason::Shed)
    }
}

impl Default for Controls {
    fn default() -> Self {
        Self {
            per_mille: AtomicU32::new(1_000),
            cache_only: AtomicBool::default(),
            sheds: AtomicBool::default(),
            shed: ArcSwap::default(),
        }
    }
}
