use std::sync::Arc;

use llm_core::{ChatRequest, Usage};
use serde_json::Value;

use super::{
    counts::{COUNTS, Counts, counts, usage},
    iterations::Iterations,
};
use crate::protocol::{
    Settings,
    fields::Fields,
    usage::{StatedUsage, strip},
};

/// Usage and service class that a response has stated so far.
#[derive(Debug, Default)]
pub(crate) struct ResponseUsage {
    stated: StatedUsage,
    /// Largest value of each count so far, because some statements leave counts out.
    counts: Counts,
    served_by: Option<Arc<str>>,
    service_tier: Option<Arc<str>>,
    settings: Settings,
    surcharges: Vec<Arc<str>>,
}

/// Number of counts, from the start of [`COUNTS`], whose fields are removed after they are read. The number of searches
/// stays.
const READ: usize = 7;

impl ResponseUsage {
    /// Creates the usage of a response to `request`, from which it reads the surcharges that the response does not
    /// state.
    pub(crate) fn for_request(request: &ChatRequest) -> Self {
        let mut usage = Self::default();
        usage.settings.take(|name| request.extra.get(name));
        usage.surcharges = usage.settings.charged();
        usage
    }

    /// Merges a usage object, or a part of one, into the usage so far.
    pub(crate) fn read(&mut self, fields: &Fields) {
        let tier = fields.get("service_tier").and_then(Value::as_str).map(Arc::from);
        self.service_tier = tier.or(self.service_tier.take());
        self.settings.take(|name| fields.get(name));
        self.surcharges = self.settings.charged();
        let Ok(counts) = counts(fields, &mut self.stated) else { return };
        let known = self.counts;
        self.counts = std::array::from_fn(|i| counts[i].max(known[i]));
        let Some(usage) = usage(std::array::from_fn(|i| counts[i].or(known[i]))) else { return };
        self.stated.merge(usage);
        if let Some(iterations) = Iterations::read(fields, &mut self.stated) {
            self.served_by = iterations.served_by().or(self.served_by.take());
            let (side_calls, beside) = iterations.side_calls(&usage);
            self.stated.set_side_calls(side_calls, beside);
        }
    }

    /// Removes from a usage object the fields that were read, and nulls. Fields that [`Usage`] does not have (the
    /// service class, a vendor's own tools) are kept. If the usage is unknown, only nulls are removed.
    pub(crate) fn strip(&self, fields: &mut Fields) {
        if self.usage().is_some() {
            strip(fields, &COUNTS[..READ]);
        }
        fields.retain(|_, value| !value.is_null());
    }

    pub(crate) fn usage(&self) -> Option<Usage> {
        self.stated.usage()
    }

    pub(crate) fn stated(&self) -> &StatedUsage {
        &self.stated
    }

    /// Returns the fallback model that responded, if the usage names it.
    pub(crate) fn served_by(&self) -> Option<&Arc<str>> {
        self.served_by.as_ref()
    }

    pub(crate) fn service_tier(&self) -> Option<&Arc<str>> {
        self.service_tier.as_ref()
    }

    pub(crate) fn surcharges(&self) -> &[Arc<str>] {
        &self.surcharges
    }
}
