use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use crate::{BuildError, Verification, background::Background, freshness::Freshness};

/// When to ask, beside when nothing is stored.
#[derive(Clone, Default)]
pub(crate) struct Asking {
    pub(crate) observe: bool,
    pub(crate) keep_fallbacks: bool,
    pub(crate) finish_abandoned: bool,
    /// How many calls the background has room for.
    pub(crate) background: Option<u32>,
    pub(crate) audit: Option<Verification>,
    /// The most answers to a question, at least one.
    pub(crate) samples: u32,
    pub(crate) refusal_ttl: Option<Duration>,
}

impl Asking {
    /// The background that the settings need.
    pub(crate) fn background(&self, freshness: &Freshness) -> Result<Option<Arc<Background>>, BuildError> {
        if self.audit.as_ref().is_some_and(|audit| !audit.is_percentage()) {
            return Err(BuildError::Verification);
        }
        let is_needed = self.finish_abandoned || self.audit.is_some() || !freshness.revalidate.is_zero();
        match self.background {
            None | Some(0) if is_needed => Err(BuildError::Background),
            None | Some(0) => Ok(None),
            Some(most) => {
                let runtime = Handle::try_current().map_err(|_| BuildError::Runtime)?;
                Ok(Some(Background::new(runtime, most)))
            }
        }
    }
}
