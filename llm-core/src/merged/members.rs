use std::{ops::Deref, sync::Arc};

use crate::{
    Labels, Operation, Tenant,
    call::{AttemptPermit, Call, Purpose, SentFlag},
};

/// List of the callers of a merged call, in the call's [`extensions`](Call::extensions). Each caller pays its share.
/// Cheap to clone.
///
/// [`call_merged`](super::call_merged) writes the list. For a call that was itself merged the list holds that call's
/// members. A layer that records attempts divides the cost of each attempt among the members. A layer that sends
/// another request than the one it got removes the list.
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
    /// Purpose of the member's call, if a layer made it and no caller waits for it.
    pub purpose: Option<Purpose>,
    /// Estimated input tokens of the member's request, at least 1. The member's share of the call is this number
    /// divided by the sum of all weights.
    pub weight: u64,
    /// Permit of the member's call, which is asked before a further attempt.
    pub permit: Option<AttemptPermit>,
    /// Sent flag of the member's call, which is set when the merged call is sent.
    pub sent: SentFlag,
}

impl Members {
    /// Lists the callers of these calls, one for each call.
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

    /// Returns the callers who pay. A call that was itself merged is replaced by the members of that call.
    pub(super) fn payers<T>(&self, calls: &[Call<T>]) -> Self {
        let payers = |(caller, call): (&Member, &Call<T>)| match call.extensions.get::<Self>() {
            Some(inner) => inner.to_vec(),
            None => vec![caller.clone()],
        };
        Self(self.iter().zip(calls).flat_map(payers).collect())
    }

    /// Returns the weights of all members, in the order of the members.
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

/// Returns the weight of one part of a merged request: its estimated input tokens.
pub(super) fn weight<T: Operation>(part: &T) -> u64 {
    part.estimate().input.max(1)
}
