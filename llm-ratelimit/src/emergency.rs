use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use arc_swap::ArcSwap;
use llm_core::Priority;

use crate::{Demand, Reason, inner::Inner};

/// Steers a limiter at run time, for all of its clones: see [`Limiter::emergency`](crate::Limiter::emergency).
///
/// ```
/// use llm_core::Priority;
/// use llm_ratelimit::{Limiter, Plans, Shed};
///
/// let limiter = Limiter::builder(Plans::uniform(["10/minute"])?).build()?;
/// let emergency = limiter.emergency();
/// emergency.scale(2_500); // a spike: all limits are two and a half times as large
/// emergency.shed(Shed::Priority(Priority::Background));
/// emergency.restore(); // and back
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Emergency(pub(crate) Arc<Inner>);

/// Calls that are refused at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shed {
    /// Those of this priority.
    Priority(Priority),
    /// Those of this plan's tenants.
    Plan(Arc<str>),
    /// Those with this label.
    Label {
        /// The label's name.
        name: Arc<str>,
        /// Its value.
        value: Arc<str>,
    },
}

#[derive(Debug)]
pub(crate) struct Controls {
    per_mille: AtomicU32,
    cache_only: AtomicBool,
    sheds: AtomicBool,
    shed: ArcSwap<Vec<Shed>>,
}

impl Emergency {
    /// The most rules of what is shed.
    pub const MAX_SHED: usize = 64;

    /// Scales all limits, in thousandths of what the plans say: 1,000 is as they are. What is left of a limit is at least
    /// 1, so 0 lets hardly anything through. What was used stays used.
    pub fn scale(&self, per_mille: u32) {
        self.0.controls.per_mille.store(per_mille, Relaxed);
        self.0.drain_all();
    }

    /// Refuses such calls at once, also those that wait. Rules beyond [`MAX_SHED`](Self::MAX_SHED) are ignored; whether
    /// this one was taken is the answer.
    pub fn shed(&self, what: Shed) -> bool {
        let mut taken = false;
        self.0.controls.shed.rcu(|known| {
            let mut known = Vec::clone(known);
            taken = known.contains(&what) || known.len() < Self::MAX_SHED;
            if taken && !known.contains(&what) {
                known.push(what.clone());
            }
            known
        });
        self.0.controls.sheds.store(true, Relaxed);
        self.0.drain_all();
        taken
    }

    /// Refuses every call, so that a cache above answers with what it has. A limiter above the cache refuses hits, too:
    /// this is for the one below it.
    pub fn cache_only(&self, on: bool) {
        self.0.controls.cache_only.store(on, Relaxed);
        self.0.drain_all();
    }

    /// Ends all of it.
    pub fn restore(&self) {
        let Controls { per_mille, cache_only, sheds, shed } = &self.0.controls;
        per_mille.store(1_000, Relaxed);
        cache_only.store(false, Relaxed);
        sheds.store(false, Relaxed);
        shed.store(Arc::default());
        self.0.drain_all();
    }
}

impl Controls {
    pub(crate) fn per_mille(&self) -> u32 {
        self.per_mille.load(Relaxed)
    }

    /// Returns true if any call may be refused whatever the limits say.
    pub(crate) fn refuses(&self) -> bool {
        self.cache_only.load(Relaxed) || self.sheds.load(Relaxed)
    }

    /// Returns the reason to refuse a call whatever the limits say.
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
