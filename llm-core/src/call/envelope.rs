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
    /// Tenant whose cache entries and limits apply, and which pays.
    pub tenant: Tenant,
    /// Labels that say which feature, user or prompt version the call is for.
    pub labels: Labels,
    /// Number of things that the application sells and this call makes: test cases, photos, proposals. One by default.
    pub units: u32,
    /// Order in which waiting calls are sent.
    pub priority: Priority,
    /// Time after which the response is not wanted. In tests: `tokio::time::Instant::now().into_std()` and later.
    ///
    /// A call that a layer above shares among several callers has none here: layers read it by
    /// [`CallDeadline`](crate::layer::CallDeadline).
    pub deadline: Option<Instant>,
    /// Values of layers for one another, and options of the application ([`with_option`](Self::with_option)).
    pub extensions: Extensions,
    sent: Option<SentFlag>,
}

/// Order in which waiting calls are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Priority {
    /// No user is waiting: revalidations, imports, nightly jobs.
    Background,
    /// A user is waiting.
    #[default]
    Interactive,
}

impl<T> Call<T> {
    /// Creates a call of a tenant.
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

    /// Adds a label, or replaces the value of one.
    ///
    /// # Errors
    ///
    /// Too many labels, or too long ones: see [`Labels`].
    pub fn with_label(mut self, name: &str, value: &str) -> Result<Self, Error> {
        self.labels.insert(name, value)?;
        Ok(self)
    }

    /// Adds an option that a layer of the stack reads, such as a cache's `Directive` or a pool's
    /// [`Pinned`](crate::layer::Pinned). Where no layer reads it, the client refuses the call or the ledger reports a fault
    /// of the stack, as the option says ([`CallOption::unread`](crate::layer::CallOption::unread)).
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

    /// Sets the number of things that the application sells and this call makes.
    pub fn with_units(mut self, units: u32) -> Self {
        self.units = units;
        self
    }

    /// Sets the priority.
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the time after which the response is not wanted.
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Replaces the request.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Call<U> {
        let Self { body, tenant, labels, units, priority, deadline, extensions, sent } = self;
        Call { body: change(body), tenant, labels, units, priority, deadline, extensions, sent }
    }

    /// Adds a flag that reads `true` once this call is sent to a vendor. A layer reads it if the call is dropped.
    ///
    /// [`mark_sent`](Self::mark_sent) in a layer below sets the flags of all layers above.
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

    /// Sets the flags of the members when this call is sent.
    pub(crate) fn merged_from(&mut self, members: Vec<SentFlag>) {
        self.sent = Some(SentFlag::below_members(members));
    }

    /// Names the vendor to the layer right above. A client does so before anything can fail, so that a failed or abandoned
    /// attempt has a vendor too.
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

    /// Marks the call as sent. A client does so before it hands the request to the vendor, which may charge it from then on.
    pub fn mark_sent(&self) {
        if let Some(sent) = &self.sent {
            sent.mark_sent();
        }
    }
}
