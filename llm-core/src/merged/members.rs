use std::{ops::Deref, sync::Arc};

use crate::{
    Labels, Operation, Tenant,
    call::{AttemptPermit, Call, Purpose, SentFlag},
};

/// Callers of a merged call, in its [`extensions`](Call::extensions): each pays its share. Cheap to clone.
///
/// [`call_merged`](super::call_merged) writes it, also for calls that are merged themselves: their members pay. A layer that books attempts divides each among them. A layer that
/// sends something other than the call that it got removes it.
///
/// ```
/// use llm_core::{Call, layer::Members};
///
/// fn payers<T>(call: &Call<T>) -> Vec<String> {
///     match call.extensions.get::<Members>() {
///         Some(members) => members.iter().map(|member| member.tenant.to_string()).collect(),
///         None => vec![call.tenant.to_string()],
///     }
/// }
/// assert_eq!(payers(&Call::new("acme", "a request")), ["acme"]);
/// ```
#[derive(Clone, Debug)]
pub struct Members(Arc<[Member]>);

/// One caller of a merged call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Member {
    /// Tenant of the caller, which pays its share.
    pub tenant: Tenant,
    /// Labels of the caller.
    pub labels: Labels,
    /// Purpose of a call that no caller waits for.
    pub purpose: Option<Purpose>,
    /// Share of the call among the weights of all members: its estimated input tokens, at least 1.
    pub weight: u64,
    /// Permit that is requested before a further attempt.
    pub permit: Option<AttemptPermit>,
    /// Flag that is set when the merged call is sent.
    pub sent: SentFlag,
}

impl Members {
    /// Creates the callers of these calls, one each.
    pub(super) fn of<T: Operation>(calls: &mut [Call<T>]) -> Self {
        let member = |call: &mut Call<T>| {
            let inner = call.extensions.get::<Self>();
            Member {
                tenant: call.tenant.clone(),
                labels: call.labels.clone(),
                purpose: call.extensions.get().copied(),
                weight: inner.map_or_else(|| weight(&call.body), |inner| inner.weights().iter().sum()),
                permit: call.extensions.get().cloned(),
                sent: call.track(),
            }
        };
        Self(calls.iter_mut().map(member).collect())
    }

    /// Returns the callers who pay: a call that is itself merged is replaced by its own members.
    pub(super) fn payers<T>(&self, calls: &[Call<T>]) -> Self {
        let payers = |(caller, call): (&Member, &Call<T>)| match call.extensions.get::<Self>() {
            Some(inner) => inner.to_vec(),
            None => vec![caller.clone()],
        };
        Self(self.iter().zip(calls).flat_map(payers).collect())
    }

    /// Returns the weights of all members, in order.
    pub fn weights(&self) -> Vec<u64> {
        self.iter().map(|member| member.weight).collect()
    }
}

impl Deref for Members {
    type Target = [Member];

    fn deref(&self) -> &[Member] {
        &self.0
    }
}

/// Returns the share of one part of a merged request: its estimated input.
pub(super) fn weight<T: Operation>(part: &T) -> u64 {
    part.estimate().input.max(1)
}
