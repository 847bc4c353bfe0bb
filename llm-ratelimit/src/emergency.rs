//! The operator's handle for emergencies. It changes the limiter's controls, and then lets waiting calls be decided again.

use std::sync::Arc;

use crate::{Shed, controls::MAX_SHED, inner::Inner};

/// Changes a limiter at run time, for all of its clones: see [`Limiter::emergency`](crate::Limiter::emergency).
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
    /// Largest number of rules for shedding.
    pub const MAX_SHED: usize = MAX_SHED;

    /// Scales all limits, in thousandths of the plans' amounts; 1,000 leaves them unchanged. A scaled limit is at least
    /// 1, so even 0 admits single calls. Amounts that were used stay used.
    pub fn scale(&self, per_mille: u32) {
        self.0.controls.scale(per_mille);
        self.0.drain_all();
    }

    /// Refuses calls of this kind at once, including those that wait. Returns false, and ignores the rule, if there are
    /// [`MAX_SHED`](Self::MAX_SHED) rules already.
    pub fn shed(&self, what: Shed) -> bool {
        let taken = self.0.controls.shed(what);
        self.0.drain_all();
        taken
    }

    /// Refuses every call, so that a cache above serves only stored responses. Use it on a limiter below the cache: one
    /// above the cache refuses hits, too.
    pub fn cache_only(&self, on: bool) {
        self.0.controls.cache_only(on);
        self.0.drain_all();
    }

    /// Ends the emergency: limits have the plans' amounts again, and no call is shed.
    pub fn restore(&self) {
        self.0.controls.restore();
        self.0.drain_all();
    }
}
