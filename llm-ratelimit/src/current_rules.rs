//! Current rules, as decisions read them.

use std::{cell::Cell, sync::Arc};

use arc_swap::{ArcSwap, Guard, cache::Cache};

use crate::{
    per_thread::PerThread,
    rules::{PlanRules, Rules},
};

/// Current rules, which are replaced as a whole.
///
/// Each thread keeps the rules that it read last. A decision therefore only compares a pointer, and writes nothing that
/// other threads read. A thread that makes no decisions may keep outdated rules until the limiter is dropped.
pub(crate) struct CurrentRules {
    rules: Arc<ArcSwap<Rules>>,
    kept: PerThread<Kept>,
}

/// Rules that a thread keeps, in a cache line of their own.
#[derive(Default)]
#[repr(align(64))]
struct Kept(Cell<Option<Cached>>);

type Cached = Cache<Arc<ArcSwap<Rules>>, Arc<Rules>>;

/// Rules that a thread is using, taken out of the thread's cell. This allows nested use: foreign code that a decision
/// calls, such as a metrics recorder, may make another decision on the same thread. Dropping the value puts the rules
/// back into the cell.
pub(crate) struct Reading<'a> {
    from: &'a CurrentRules,
    kept: Option<&'a Kept>,
    rules: Option<Cached>,
}

impl CurrentRules {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules: Arc::new(ArcSwap::from_pointee(rules)), kept: PerThread::default() }
    }

    /// Returns the rules for use on this thread.
    #[inline]
    pub(crate) fn read(&self) -> Reading<'_> {
        let kept = self.kept.get();
        Reading { from: self, kept, rules: kept.and_then(|kept| kept.0.take()) }
    }

    /// Returns the rules of a tenant's plan.
    pub(crate) fn of(&self, tenant: &str) -> Arc<PlanRules> {
        Arc::clone(self.read().of(tenant))
    }

    /// Returns the rules of all plans.
    pub(crate) fn load(&self) -> Guard<Arc<Rules>> {
        self.rules.load()
    }

    /// Replaces the rules.
    pub(crate) fn store(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// Assigns a plan to a tenant. Returns `false` if there is no such plan.
    pub(crate) fn set_plan(&self, tenant: &str, plan: &str) -> bool {
        let mut is_known = true;
        self.rules.rcu(|rules| match rules.with_tenant(tenant, plan) {
            Some(changed) => Arc::new(changed),
            None => {
                is_known = false;
                Arc::clone(rules)
            }
        });
        is_known
    }
}

impl Reading<'_> {
    /// Returns the rules of a tenant's plan.
    #[inline]
    pub(crate) fn of(&mut self, tenant: &str) -> &Arc<PlanRules> {
        let rules = self.rules.get_or_insert_with(|| Cache::new(Arc::clone(&self.from.rules)));
        rules.load().of(tenant)
    }
}

impl Drop for Reading<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(kept) = self.kept {
            kept.0.set(self.rules.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::{Plan, Plans, rules::Names};

    fn rules() -> CurrentRules {
        let plans = Plans::new("free", Plan::new()).unwrap().with("pro", Plan::new()).unwrap();
        CurrentRules::new(Rules::new(&plans, &Names::default()))
    }

    fn plan(rules: &CurrentRules) -> String {
        rules.read().of("acme").name.to_string()
    }

    #[test]
    fn plan_change_reaches_every_thread_at_once() {
        let rules = rules();
        thread::scope(|scope| {
            for _ in 0..4 {
                let (ask, asked) = std::sync::mpsc::channel::<&str>();
                let (answer, answers) = std::sync::mpsc::channel();
                let read = &rules;
                scope.spawn(move || asked.iter().for_each(|_| answer.send(plan(read)).unwrap()));
                for name in ["free", "pro", "free", "pro"] {
                    assert!(rules.set_plan("acme", name));
                    ask.send(name).unwrap();
                    assert_eq!(answers.recv().unwrap(), name);
                }
            }
        });
        assert!(!rules.set_plan("acme", "gold"));
        assert_eq!(plan(&rules), "pro");
    }

    #[test]
    fn plan_change_within_decision_leaves_its_plan() {
        let rules = rules();
        let mut reading = rules.read();
        let outer = reading.of("acme");
        rules.set_plan("acme", "pro");
        assert_eq!((plan(&rules), &*outer.name), ("pro".to_owned(), "free"));
        drop(reading);
        assert_eq!(plan(&rules), "pro");
    }

    #[test]
    fn plan_replaced_is_freed_once_read_again() {
        let rules = rules();
        let old = Arc::downgrade(&rules.of("acme"));
        rules.store(Rules::new(&Plans::default(), &Names::default()));
        assert_eq!(plan(&rules), "default");
        assert!(old.upgrade().is_none());
    }
}
