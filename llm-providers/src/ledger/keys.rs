use std::{sync::Arc, time::SystemTime};

use llm_core::{
    Call, Labels, Operation, Tenant,
    layer::{Member, MemberId, Purpose},
};

/// Names that select the rows in which a call is booked.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) tenant: Tenant,
    pub(super) labels: Labels,
    /// Requested model. The model of the response is not used, because it is unknown for a call that failed.
    pub(super) model: Arc<str>,
    /// Purpose of the call, if a layer made it and no caller waits for it.
    pub(super) purpose: Option<Purpose>,
    /// Member of the key pool that the call is sent to.
    pub(super) member: Option<MemberId>,
    /// Time at which the call reached the ledger; `None` if the ledger has no file.
    pub(super) began: Option<SystemTime>,
}

impl Keys {
    /// Returns the names for a call that reached the ledger at `began`.
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

    /// Returns the names for a member's share of a merged call.
    pub(super) fn of_caller(&self, caller: &Member) -> Self {
        let Member { tenant, labels, purpose, .. } = caller.clone();
        Self { tenant, labels, purpose, ..self.clone() }
    }
}
