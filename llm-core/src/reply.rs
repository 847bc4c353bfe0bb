use std::sync::Arc;

use crate::{Output, Receipt, extensions::Extensions, limits::VendorLimits, output::End};

/// A response with its envelope: receipt, vendor's limits, extensions.
///
/// ```
/// use llm_core::{Embeddings, Receipt, Reply};
///
/// let reply = Reply::new(Embeddings::new("m", vec![]), Receipt::default());
/// let count = reply.map(|embeddings| embeddings.vectors.len());
/// assert_eq!(count.output, 0);
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Reply<O> {
    /// The response.
    pub output: O,
    /// Origin, usage, cost and savings of the response.
    pub receipt: Receipt,
    /// Limits that the vendor stated; `None` if it stated none, or if the call was not sent to a vendor.
    pub limits: Option<Arc<VendorLimits>>,
    /// Values that layers add for the application and for layers above.
    pub extensions: Extensions,
}

impl<O> Reply<O> {
    /// Creates a reply from a response and its receipt.
    pub fn new(output: O, receipt: Receipt) -> Self {
        Self { output, receipt, limits: None, extensions: Extensions::new() }
    }

    /// Sets the limits that the vendor stated.
    pub fn with_limits(mut self, limits: Option<Arc<VendorLimits>>) -> Self {
        self.limits = limits;
        self
    }

    /// Replaces the response by the result of `change`, and keeps the rest of the reply.
    pub fn map<U>(self, change: impl FnOnce(O) -> U) -> Reply<U> {
        let Self { output, receipt, limits, extensions } = self;
        Reply { output: change(output), receipt, limits, extensions }
    }

    /// Replaces the response by the result of `change`, and keeps the rest of the reply.
    ///
    /// # Errors
    ///
    /// Returns the error of `change`.
    pub fn try_map<U, E>(self, change: impl FnOnce(O) -> Result<U, E>) -> Result<Reply<U>, E> {
        let Self { output, receipt, limits, extensions } = self;
        Ok(Reply { output: change(output)?, receipt, limits, extensions })
    }
}

impl<O: Output> Reply<O> {
    /// Calls `f` once with the receipt, when the response has ended. The hooks of inner layers have run by then.
    pub fn on_end(self, f: impl FnOnce(End<'_, O::Complete>, &Receipt) + Send + 'static) -> Self {
        let Self { output, receipt, limits, extensions } = self;
        let seen = receipt.clone();
        Self { output: output.on_end(move |end| f(end, &seen)), receipt, limits, extensions }
    }
}
