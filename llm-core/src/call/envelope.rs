use std::{sync::Arc, time::Instant};

use super::{CallOption, Labels, SentFlag, Tenant};
use crate::{Error, extensions::Extensions};

/// A request with its envelope: tenant, labels, units, priority, deadline, extensions.
///
/// ```
/// use llm_core::{Call, ChatRequest, Priority};
///
/// let call = Call::new("acme", ChatRequest::new("gpt-4o-mini").user("Name a test case for a login form."))
///     .with_label("feature", "test-cases")?
///     .with_units(10)
///     .with_priority(Priority::Background);
/// # Ok::<_, llm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Call<T> {
    /// The request.
    pub body: T,
    /// Tenant that makes the call: its cache entries and limits apply, and it pays.
    pub tenant: Tenant,
    /// Labels that say which feature, user or prompt version the call is for.
    pub labels: Labels,
    /// Number of units that this call produces of what the application sells, such as test cases or photos; 1 by
    /// default.
    pub units: u32,
    /// Order in which waiting calls are sent.
    pub priority: Priority,
    /// Time after which the caller no longer wants the response. In tests with paused time, compute it from
    /// `tokio::time::Instant::now().into_std()`.
    ///
    /// It is `None` in a call that a layer shares among several callers. Layers therefore read the deadline by
    /// [`CallDeadline`](crate::layer::CallDeadline).
    pub deadline: Option<Instant>,
    /// Values that layers pass to one another, and options of the application ([`with_option`](Self::with_option)).
    pub extensions: Extensions,
    sent: Option<SentFlag>,
}

/// Urgency of a call, which decides the order in which waiting calls are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Priority {
    /// No user waits for the response, as with revalidations, imports and nightly jobs.
    Background,
    /// A user waits for the response.
    #[default]
    Interactive,
}

impl<T> Call<T> {
    /// Creates a call that `tenant` makes.
    pub fn new(tenant: impl Into<Tenant>, body: T) -> Self {
        Self {
            body,
            tenant: tenant.into(),
            labels: Labels::default(),
            units: 1,
            priority: Priority::default(),
            deadline: None,
            extensions: Extensions::new(),
            sent: None,
        }
    }

    /// Adds a label, or replaces the value of the label with the same name.
    ///
    /// # Errors
    ///
    /// Returns an error if there are too many labels, or if the name or the value is too long: see [`Labels`].
    pub fn with_label(mut self, name: &str, value: &str) -> Result<Self, Error> {
        self.labels.insert(name, value)?;
        Ok(self)
    }

    /// Adds an option that a layer of the stack reads, such as a cache's `Directive` or a pool's
    /// [`Pinned`](crate::layer::Pinned). If no layer reads it, the client refuses the call or the ledger reports a
    /// fault of the stack; the option says which ([`CallOption::unread`](crate::layer::CallOption::unread)).
    ///
    /// ```
    /// use llm_core::{Call, ChatRequest, layer::NoFallback};
    ///
    /// let call = Call::new("acme", ChatRequest::new("gpt-4o").user("hello")).with_option(NoFallback);
    /// ```
    pub fn with_option(mut self, option: impl CallOption) -> Self {
        self.extensions.insert_option(option);
        self
    }

    /// Sets the number of units that this call produces of what the application sells, such as test cases or photos.
    pub fn with_units(mut self, units: u32) -> Self {
        self.units = units;
        self
    }

    /// Sets the priority, which decides the order in which waiting calls are sent.
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the time after which the caller no longer wants the response.
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Replaces the request by the result of `change`, and keeps the envelope.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Call<U> {
        let Self { body, tenant, labels, units, priority, deadline, extensions, sent } = self;
        Call { body: change(body), tenant, labels, units, priority, deadline, extensions, sent }
    }

    /// Adds and returns a flag that is set when this call is sent to a vendor. If the call is dropped, a layer learns
    /// from the flag whether the call may have been charged.
    ///
    /// [`mark_sent`](Self::mark_sent), which the client calls, sets the flags of all layers above it.
    ///
    /// ```
    /// use llm_core::Call;
    ///
    /// let mut call = Call::new("acme", "a request");
    /// let sent = call.track();
    /// assert!(!sent.is_sent());
    /// call.mark_sent();
    /// assert!(sent.is_sent());
    /// ```
    pub fn track(&mut self) -> SentFlag {
        let sent = SentFlag::below(self.sent.take());
        self.sent = Some(sent.clone());
        sent
    }

    /// Makes this call, when it is sent, set also the flags `members` of the calls that were merged into it.
    pub(crate) fn merged_from(&mut self, members: Vec<SentFlag>) {
        self.sent = Some(SentFlag::below_members(members));
    }

    /// Reports the vendor's name to the layer right above the client. A client calls this before anything can fail, so
    /// that the cost of a failed or abandoned attempt is recorded with its vendor too.
    ///
    /// ```
    /// use llm_core::Call;
    ///
    /// let mut call = Call::new("acme", "a request");
    /// let sent = call.track();
    /// call.set_vendor(&"openai".into());
    /// assert_eq!(sent.vendor().map(|name| &**name), Some("openai"));
    /// ```
    pub fn set_vendor(&self, name: &Arc<str>) {
        if let Some(sent) = &self.sent {
            sent.set_vendor(name);
        }
    }

    /// Marks the call as sent. A client calls this right before it sends the request to the vendor, which may charge
    /// the request from then on.
    pub fn mark_sent(&self) {
        if let Some(sent) = &self.sent {
            sent.mark_sent();
        }
    }
}
