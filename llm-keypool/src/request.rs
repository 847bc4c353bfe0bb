use std::{hash::BuildHasher, sync::Arc, time::Instant};

use llm_core::{
    Priority, Tenant,
    layer::{CallDeadline, NoFallback, Pinned},
};

use crate::group::Amounts;

/// Request for a key: the model, the tokens, and the other values on which the choice depends.
///
/// ```
/// use llm_core::Priority;
/// use llm_keypool::LeaseRequest;
///
/// let request = LeaseRequest::new("gpt-4o").tokens(1_200, 500).priority(Priority::Background);
/// # let _ = request;
/// ```
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    pub(crate) model: Arc<str>,
    pub(crate) amounts: Amounts,
    pub(crate) priority: Priority,
    pub(crate) deadline: CallDeadline,
    /// Hash of the tenant and the beginning of the prompt; 0 without affinity.
    pub(crate) affinity: u64,
    pub(crate) pinned: Option<Pinned>,
    pub(crate) no_fallback: bool,
    pub(crate) repeatable: bool,
}

impl LeaseRequest {
    /// Creates a request for a model, with 0 tokens and no deadline.
    pub fn new(model: impl Into<Arc<str>>) -> Self {
        Self {
            model: model.into(),
            amounts: [1, 0, 0, 0],
            priority: Priority::default(),
            deadline: CallDeadline::default(),
            affinity: 0,
            pinned: None,
            no_fallback: false,
            repeatable: true,
        }
    }

    /// Sets the input tokens and the largest number of output tokens.
    #[must_use]
    pub fn tokens(self, input: u64, output: u64) -> Self {
        Self { amounts: [1, input.saturating_add(output), input, output], ..self }
    }

    /// Sets the priority of the request among the requests that wait for a key.
    #[must_use]
    pub fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// Sets the deadline of the request; none by default. The request waits for a key no longer than this. The deadline
    /// also decides if dropping the lease counts as a timeout ([`Lease`](crate::Lease)).
    #[must_use]
    pub fn deadline(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline).into(), ..self }
    }

    /// Sets the tenant, and a hash that is equal for requests with the same beginning of the prompt; 0 for no affinity.
    /// Both have an effect only in pools with [`affinity`](crate::KeyPoolBuilder::affinity).
    #[must_use]
    pub fn affinity(self, tenant: impl Into<Tenant>, beginning: u64) -> Self {
        Self { affinity: affinity(&tenant.into(), beginning), ..self }
    }

    /// Restricts the request to the members of one group.
    #[must_use]
    pub fn pinned(self, group: Pinned) -> Self {
        Self { pinned: Some(group), ..self }
    }

    /// Excludes members that would answer with a fallback model.
    #[must_use]
    pub fn no_fallback(self, _: NoFallback) -> Self {
        Self { no_fallback: true, ..self }
    }

    /// Sets whether the request may be sent again after a failure that leaves open whether the vendor served it.
    /// Default: `true`.
    #[must_use]
    pub fn repeatable(self, repeatable: bool) -> Self {
        Self { repeatable, ..self }
    }
}

/// Returns the hash of a tenant and a beginning; 0 if `beginning` is 0, which means no affinity.
pub(crate) fn affinity(tenant: &Tenant, beginning: u64) -> u64 {
    match beginning {
        0 => 0,
        _ => foldhash::fast::FixedState::default().hash_one((tenant.as_str(), beginning)) | 1,
    }
}
