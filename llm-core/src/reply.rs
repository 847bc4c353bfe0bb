use std::sync::Arc;

use crate::{Output, Receipt, extensions::Extensions, limits::VendorLimits, output::End};

/// An answer with everything around it that is not part of the answer.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Reply<O> {
    /// The answer.
    pub output: O,
    /// Who gave it, what it took, what it cost, what it saved.
    pub receipt: Receipt,
    /// What the vendor told about its limits, if this call reached one.
    pub limits: Option<Arc<VendorLimits>>,
    /// What one layer alone understands.
    pub extensions: Extensions,
}

impl<O> Reply<O> {
    /// An answer with its receipt.
    pub fn new(output: O, receipt: Receipt) -> Self {
        Self { output, receipt, limits: None, extensions: Extensions::new() }
    }

    /// Adds what the vendor told about its limits.
    pub fn with_limits(mut self, limits: Option<Arc<VendorLimits>>) -> Self {
        self.limits = limits;
        self
    }

    /// The same reply with another answer.
    pub fn map<U>(self, change: impl FnOnce(O) -> U) -> Reply<U> {
        let Self { output, receipt, limits, extensions } = self;
        Reply { output: change(output), receipt, limits, extensions }
    }

    /// The same reply with another answer, if there is one.
    ///
    /// # Errors
    ///
    /// What `change` reports.
    pub fn try_map<U, E>(self, change: impl FnOnce(O) -> Result<U, E>) -> Result<Reply<U>, E> {
        let Self { output, receipt, limits, extensions } = self;
        Ok(Reply { output: change(output)?, receipt, limits, extensions })
    }
}

impl<O: Output> Reply<O> {
    /// Calls `f` once, when the answer has ended, with the receipt. Hooks of inner layers have run by then.
    pub fn on_end(self, f: impl FnOnce(End<'_, O::Complete>, &Receipt) + Send + 'static) -> Self {
        let Self { output, receipt, limits, extensions } = self;
        let seen = receipt.clone();
        Self { output: output.on_end(move |end| f(end, &seen)), receipt, limits, extensions }
    }
}
