//! Guard that settles a call when it ends or is dropped.

use crate::plan::{CallId, Outcome};
use crate::vendor::Vendor;

/// Guard of a call. It settles the call once: with a given outcome, or as cancelled when it is dropped.
#[derive(Debug)]
pub(super) struct CallGuard {
    vendor: Vendor,
    call: Option<CallId>,
}

impl CallGuard {
    pub(super) fn new(vendor: Vendor, call: CallId) -> Self {
        Self { vendor, call: Some(call) }
    }

    pub(super) fn settle(&mut self, outcome: Outcome) {
        if let Some(call) = self.call.take() {
            self.vendor.settle(self.vendor.now(), call, outcome);
        }
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.settle(Outcome::Cancelled);
    }
}
