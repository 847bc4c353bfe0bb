use std::{sync::Arc, time::SystemTime};

use llm_core::{
    Call, Labels, Operation, Tenant,
    layer::{Member, MemberId, Purpose},
};

/// The rows that a call is booked in.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) tenant: Tenant,
    pub(super) labels: Labels,
    /// Requested model, not the one that answered, because both layers know it however the call ends.
    pub(super) model: Arc<str>,
    /// Purpose of a call that no caller waits for.
    pub(super) purpose: Option<Purpose>,
    /// Key pool's member that it is sent to.
    pub(super) member: Option<MemberId>,
    /// Time at which the call reached the ledger, if there is a file.
    pub(super) began: Option<SystemTime>,
}

impl Keys {
    /// Returns the rows of a call that reached the ledger at `began`.
    pub(super) fn of<T: Operation>(call: &Call<T>, began: Option<SystemTime>) -> Self {
        Self {
            tenant: call.tenant.clone(),
            labels: call.labels.clone(),
            model: call.body.model().into(),
            purpose: call.extensions.get().copied(),
            member: call.extensions.get().cloned(),
            began,
        }
    }

    /// Returns the rows that a caller's share of a merged call is booked in.
    pub(super) fn of_caller(&self, caller: &Member) -> Self {
        let Member { tenant, labels, purpose, .. } = caller.clone();
        Self { tenant, labels, purpose, ..self.clone() }
    }
}
