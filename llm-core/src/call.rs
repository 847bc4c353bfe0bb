mod attempt_permit;
mod labels;
mod nested_retry;
mod purpose;
mod sent_flag;
mod tenant;

use std::time::Instant;

pub use self::attempt_permit::AttemptPermit;
pub use self::labels::Labels;
pub use self::nested_retry::NestedRetry;
pub use self::purpose::Purpose;
pub use self::sent_flag::SentFlag;
pub use self::tenant::Tenant;
use crate::{Error, extensions::Extensions};

/// A question with everything around it that is not part of the question.
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
    /// The question.
    pub body: T,
    /// Who asks: whose cache entries are used, whose limits count, who pays.
    pub tenant: Tenant,
    /// What it is asked for: feature, user, prompt version, …
    pub labels: Labels,
    /// How much of what the application sells this call is: test cases, photos, proposals. One by default.
    pub units: u32,
    /// What goes first where calls must wait.
    pub priority: Priority,
    /// When the answer is no longer wanted. In tests: `tokio::time::Instant::now().into_std()` and later.
    pub deadline: Option<Instant>,
    /// What one layer alone understands.
    pub extensions: Extensions,
    dispatch: Option<SentFlag>,
}

/// What goes first where calls must wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Priority {
    /// Nobody is waiting: refreshes, imports, nightly jobs.
    Background,
    /// Somebody is waiting.
    #[default]
    Interactive,
}

impl<T> Call<T> {
    /// A question of a tenant.
    pub fn new(tenant: impl Into<Tenant>, body: T) -> Self {
        Self {
            body,
            tenant: tenant.into(),
            labels: Labels::default(),
            units: 1,
            priority: Priority::default(),
            deadline: None,
            extensions: Extensions::new(),
            dispatch: None,
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

    /// Says how many of what the application sells this call is.
    pub fn with_units(mut self, units: u32) -> Self {
        self.units = units;
        self
    }

    /// Sets the priority.
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets when the answer is no longer wanted.
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The same call with another question.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Call<U> {
        let Self { body, tenant, labels, units, priority, deadline, extensions, dispatch } = self;
        Call { body: change(body), tenant, labels, units, priority, deadline, extensions, dispatch }
    }

    /// Follows whether this call is sent to a vendor: for a layer that must know it when the call is dropped.
    ///
    /// Marks below this layer reach the handles of all layers above it.
    pub fn track(&mut self) -> SentFlag {
        let dispatch = SentFlag::below(self.dispatch.take());
        self.dispatch = Some(dispatch.clone());
        dispatch
    }

    /// Says that the request is being handed to the vendor: from here on it may be charged. For clients.
    pub fn mark_sent(&self) {
        if let Some(dispatch) = &self.dispatch {
            dispatch.mark_sent();
        }
    }
}
