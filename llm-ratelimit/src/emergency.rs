//! Handle by which an operator changes a limiter in an emergency. Waiting calls are decided again after a change.

use std::sync::Arc;

use crate::{Shed, controls::MAX_SHED, inner::Inner};

/// Handle for emergencies, which changes a limiter and all of its clones at run time.
/// [`Limiter::emergency`](crate::Limiter::emergency) returns it.
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

impl Emergency {
    /// Largest number of rules for shedding calls.
    pub const MAX_SHED: usize = MAX_SHED;

    /// Scales all limits, in thousandths of the plans' amounts; 1,000 leaves them unchanged. A scaled limit is at least
    /// 1, so that even 0 admits single calls. Used amounts stay used.
    pub fn scale(&self, per_mille: u32) {
        self.0.controls.scale(per_mille);
        self.0.drain_all();
    }

    /// Refuses calls of this kind at once, including those that wait. If there are [`MAX_SHED`](Self::MAX_SHED) rules
    /// already, ignores the rule and returns `false`.
    pub fn shed(&self, what: Shed) -> bool {
        let taken = self.0.controls.shed(what);
        self.0.drain_all();
        taken
    }

    /// Refuses every call, so that a cache above serves only stored responses. Use it for a limiter below the cache,
    /// because a limiter above the cache would refuse cache hits too.
    pub fn cache_only(&self, on: bool) {
        self.0.controls.cache_only(on);
        self.0.drain_all();
    }

    /// Ends the emergency: limits have the amounts of the plans again, and no call is shed.
    pub fn restore(&self) {
        self.0.controls.restore();
        self.0.drain_all();
    }
}
