//! Settings of calls that the cache sends without a waiting caller.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use crate::{BuildError, Verification, observe::Counts, tasks::Tasks};

/// Settings of background calls, for which no caller waits.
///
/// The cache **spawns a task** for each such call on the tokio runtime that
/// [`CacheBuilder::build`](crate::CacheBuilder::build) is called in. A call for which no slot is free is not sent and
/// is counted ([`Stats::skipped`](crate::Stats::skipped)). A failed call keeps its slot for a second, or for the
/// waiting time that the vendor stated, up to half a minute.
///
/// ```
/// use std::time::Duration;
/// use llm_cache::{Background, Cache, Verification};
///
/// # tokio_test::block_on(async {
/// let background = Background::new(4).revalidate(Duration::from_secs(3600)).verify(Verification::percent(1));
/// let cache = Cache::builder("support").background(background).build()?;
/// # Ok::<_, llm_cache::BuildError>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Background {
    /// Number of calls that may run at the same time.
    max_calls: u32,
    /// Time after its expiry for which an entry is served while a call replaces it.
    pub(crate) revalidate: Duration,
    /// Settings of verification; `None` if no hit is verified.
    pub(crate) verification: Option<Verification>,
    /// True if calls are completed after their last caller has disconnected.
    pub(crate) complete_on_disconnect: bool,
}

impl Background {
    /// Creates settings that allow `max_calls` calls at the same time.
    pub fn new(max_calls: u32) -> Self {
        Self { max_calls, revalidate: Duration::ZERO, verification: None, complete_on_disconnect: false }
    }

    /// Sets the time after its expiry for which an entry is still served while a background call replaces it. Off by
    /// default. The entry of a request that must not be sent twice
    /// ([`Operation::is_repeatable`](llm_core::Operation::is_repeatable)) is served for the same time, but is replaced
    /// only by the first call after that time.
    ///
    /// The first caller that gets the expired entry triggers the background call, which is sent for the caller's
    /// tenant, at [`Priority::Background`](llm_core::Priority), through the layers below.
    #[doc(alias = "stale_while_revalidate")]
    pub fn revalidate(mut self, by: Duration) -> Self {
        self.revalidate = by;
        self
    }

    /// Turns verification on. The cache then sends the requests of a share of the hits again, and compares the stored
    /// responses with the new ones.
    pub fn verify(mut self, verification: Verification) -> Self {
        self.verification = Some(verification);
        self
    }

    /// Completes a call in the background when its last caller disconnects (drops the future or the stream), so that
    /// the response is stored. The leader's tenant pays. Off by default, so that such calls are cancelled.
    ///
    /// A call that no other caller can join ([`Directive::no_cache`], [`Directive::no_store`]) is cancelled in any
    /// case.
    ///
    /// [`Directive::no_cache`]: crate::Directive::no_cache
    /// [`Directive::no_store`]: crate::Directive::no_store
    ///
    /// ```
    /// use llm_cache::{Background, Cache};
    ///
    /// # tokio_test::block_on(async {
    /// let cache = Cache::builder("support").background(Background::new(8).complete_on_disconnect()).build()?;
    /// assert_eq!(cache.stats().detached, 0);
    /// # Ok::<_, llm_cache::BuildError>(()) }).unwrap();
    /// ```
    pub fn complete_on_disconnect(mut self) -> Self {
        self.complete_on_disconnect = true;
        self
    }

    /// Returns the runner of a cache's background calls with these settings, in the current tokio runtime.
    ///
    /// # Errors
    ///
    /// [`BuildError::Runtime`] outside a tokio runtime, and [`BuildError::Verification`] or [`BuildError::Background`]
    /// for a setting that is out of range.
    pub(crate) fn tasks(&self, counts: &Arc<Counts>) -> Result<Arc<Tasks>, BuildError> {
        if self.verification.as_ref().is_some_and(|verification| !verification.is_percentage()) {
            return Err(BuildError::Verification);
        }
        if self.max_calls == 0 {
            return Err(BuildError::Background);
        }
        let runtime = Handle::try_current().map_err(|_| BuildError::Runtime)?;
        Ok(Tasks::new(runtime, self.max_calls, Arc::clone(counts)))
    }
}
