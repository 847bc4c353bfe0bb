//! Calls that no caller waits for: revalidation of expired entries, and verification of a share of the hits.
//!
//! Each call needs a slot of [`crate::tasks`]. If no slot is free, or the same request is already being sent, the call
//! is not sent. The caller gets the same reply in each case. The calls are sent for the caller's tenant, with
//! [`Purpose`] in their extensions.

use std::{collections::HashSet, sync::Arc};

use llm_core::{
    Operation,
    layer::{Complete, LlmService, Purpose},
};

use super::{List, join::obtain, reply::Item, request::Request};
use crate::{Key, Mismatch, entries::Found, tasks::Slot};

/// Replaces the entries that are served although they have expired, with one call in the background.
pub(super) fn revalidate<T, S>(request: &Request<T>, service: &S, found: &[Found<Complete<T>>])
where
    T: Operation,
    S: LlmService<T>,
{
    let mut stale: List<usize> = (0..found.len()).filter(|at| found[*at].is_revalidated()).collect();
    if stale.is_empty() {
        return;
    }
    let Some(slot) = slot(request, &stale) else { return };
    let claimed: HashSet<&Key> = slot.keys().iter().collect();
    stale.retain(|at| claimed.contains(&request.keys[*at].entry));
    let directive = request.directive.revalidating();
    let own = request.unattended(Purpose::Revalidation, &stale, directive, |counts| &counts.revalidated);
    run(own, service, slot, |_, _| ());
}

/// Sends the request of a fresh hit again in the background if the request was drawn for verification, and stores the
/// new response. Reports a mismatch if the new response differs from the stored one.
pub(super) fn verify<T, S>(request: &Request<T>, service: &S, found: &[Found<Complete<T>>])
where
    T: Operation,
    S: LlmService<T>,
{
    let (true, [Found::Served(stored, None)]) = (request.verifies, found) else { return };
    let Some(slot) = slot(request, &[0]) else { return };
    let directive = request.directive.clone().no_cache();
    let own = request.unattended(Purpose::Verification, &[0], directive, |counts| &counts.verified);
    let (known, age) = (Arc::clone(&stored.response), stored.age);
    run(own, service, slot, move |Request { cache, call, .. }, mut items| {
        let new = items.pop().and_then(Item::into_whole);
        if new.is_none_or(|new| T::equivalent(&known, &new)) {
            return;
        }
        cache.counts.mismatched.one();
        let (operation, model) = (T::NAME, call.body.model().into());
        tracing::warn!(llm.operation = operation, age_s = age.as_secs(), "a stored response and a new one disagree");
        if let Some(verification) = &cache.verification {
            verification.report(&Mismatch { operation, model, tenant: call.tenant.clone(), age });
        }
    });
}

/// Obtains all items of a request in the background. If no item failed, calls `finish` with the items.
fn run<T, S>(
    request: Arc<Request<T>>,
    service: &S,
    slot: Slot,
    finish: impl FnOnce(&Request<T>, List<Item<T::Output>>) + Send + 'static,
) where
    T: Operation,
    S: LlmService<T>,
{
    let all: List<usize> = (0..request.keys.len()).collect();
    let obtained = obtain(&request, service, &all, false, &mut || ());
    slot.run(async move {
        finish(&request, obtained.await.into_iter().flatten().collect::<Result<_, _>>()?);
        Ok(())
    });
}

/// Returns a slot for a call for those of the items for which no call runs. Returns `None` if there is no such item or
/// no free slot, if the request must not be sent again, or if the caller demands that no call is sent.
fn slot<T: Operation>(request: &Request<T>, at: &[usize]) -> Option<Slot> {
    let Request { cache, directive, call, keys, .. } = request;
    let tasks = cache.background.as_ref()?;
    if directive.only_if_cached || !call.body.is_repeatable() {
        return None;
    }
    let idle = at.iter().map(|at| &keys[*at]).filter(|keys| !cache.single_flights.is_running(&keys.single_flight));
    tasks.slot(idle.map(|keys| keys.entry.clone()).collect())
}
