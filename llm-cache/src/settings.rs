//! Calls that the cache makes beside those of its callers, and the settings of how it asks.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use crate::{BuildError, Verification, tasks::Tasks};

/// Settings of the calls that no caller waits for.
///
/// The cache **spawns a task** for each such call on the tokio runtime that [`CacheBuilder::build`](crate::CacheBuilder::build)
/// is called in. A call for which there is no room is not made, and is counted ([`Stats::skipped`](crate::Stats::skipped)). A
/// call that fails keeps its room for a second, or for as long as the vendor asked to wait, up to half a minute.
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
    max_calls: u32,
    pub(crate) revalidate: Duration,
    pub(crate) verification: Option<Verification>,
    pub(crate) complete_on_disconnect: bool,
}

/// When to ask, beside when nothing is stored.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) shadow: bool,
    pub(crate) cache_fallbacks: bool,
    pub(crate) background: Option<Background>,
    /// The most answers to a question, at least one.
    pub(crate) variants: u32,
    pub(crate) negative_ttl: Option<Duration>,
}

impl Background {
    /// Makes room for this many calls at a time.
    pub fn new(max_calls: u32) -> Self {
        Self { max_calls, revalidate: Duration::ZERO, verification: None, complete_on_disconnect: false }
    }

    /// Serves an expired answer for this long past its time while a call in the background replaces it. Not at all by
    /// default. An answer to a question that may not be asked twice
    /// ([`Operation::is_repeatable`](llm_core::Operation::is_repeatable)) is served for as long, and only the call of the
    /// first caller after that replaces it.
    ///
    /// The first caller that gets the expired answer triggers the call. It is made for the caller's tenant, at
    /// [`Priority::Background`](llm_core::Priority), through the layers below.
    #[doc(alias = "stale_while_revalidate")]
    pub fn revalidate(mut self, by: Duration) -> Self {
        self.revalidate = by;
        self
    }

    /// Sends a share of the hits again, to compare the stored answers with new ones.
    pub fn verify(mut self, verification: Verification) -> Self {
        self.verification = Some(verification);
        self
    }

    /// Completes calls in the background that their last caller has cancelled, so that the answer is stored. The leader's
    /// tenant pays. Off by default: such calls are cancelled.
    ///
    /// A call that is shared with no other caller ([`Directive::no_cache`], [`Directive::no_store`]) is cancelled in any
    /// case.
    ///
    /// [`Directive::no_cache`]: crate::Directive::no_cache
    /// [`Directive::no_store`]: crate::Directive::no_store
    pub fn complete_on_disconnect(mut self) -> Self {
        self.complete_on_disconnect = true;
        self
    }
}

impl Settings {
    /// Returns the tasks that the settings need.
    pub(crate) fn tasks(&self) -> Result<Option<Arc<Tasks>>, BuildError> {
        let Some(background) = &self.background else { return Ok(None) };
        if background.verification.as_ref().is_some_and(|verification| !verification.is_percentage()) {
            return Err(BuildError::Verification);
        }
        if background.max_calls == 0 {
            return Err(BuildError::Background);
        }
        let runtime = Handle::try_current().map_err(|_| BuildError::Runtime)?;
        Ok(Some(Tasks::new(runtime, background.max_calls)))
    }
}
