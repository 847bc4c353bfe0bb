//! Calls that no caller waits for: revalidation of expired entries, and verification of a share of the hits.
//!
//! Both take a slot of [`crate::tasks`] first. Without a slot, or if the same request is being sent, no call is made and the
//! caller's reply is as it would be. They are sent for the caller's tenant, with [`Purpose`] in their extensions.

use std::{collections::HashSet, sync::Arc};

use llm_core::{
    Error, Operation,
    layer::{Complete, LlmService, Purpose},
};

use super::{
    List,
    join::{Obtained, obtain},
    request::Request,
};
use crate::{
    Key,
    entries::{Found, Stored},
    failure::lost,
    inner::Inner,
    policy::VerificationSampler,
    tasks::{Denied, Slot},
};

/// Draws whether a hit is verified.
pub(crate) fn is_drawn<C>(cache: &Inner, found: &Found<C>) -> bool {
    matches!(found, Found::Served(_, None)) && cache.verification.as_ref().is_some_and(VerificationSampler::draws)
}

/// Replaces the entries of some items with one call in the background.
pub(crate) fn revalidate<T, S>(request: &Request<T>, service: &S, mut stale: List<usize>)
where
    T: Operation,
    S: LlmService<T>,
{
    let Some(slot) = slot(request, &stale) else { return };
    let claimed: HashSet<&Key> = slot.keys().iter().collect();
    stale.retain(|at| claimed.contains(&request.items.keys[*at].entry));
    let directive = request.directive.revalidating();
    let own = request.unattended(Purpose::Revalidation, &stale, directive, |counts| &counts.revalidated);
    let obtained = obtain_all(&own, service);
    start(&request.cache, slot, async move {
        let items: Result<Vec<_>, Error> = obtained.await.into_iter().flatten().collect();
        items.map(drop)
    });
}

/// Sends the call of a hit again in the background, and reports whether the responses agree. The new one is stored.
pub(crate) fn verify<T, S>(request: &Request<T>, service: &S, stored: &Stored<Complete<T>>)
where
    T: Operation,
    S: LlmService<T>,
{
    let Some(slot) = slot(request, &[0]) else { return };
    let directive = request.directive.clone().no_cache();
    let own = request.unattended(Purpose::Verification, &[0], directive, |counts| &counts.verified);
    let obtained = obtain_all(&own, service);
    let (known, age) = (Arc::clone(&stored.response), stored.age);
    start(&request.cache, slot, async move {
        let item = obtained.await.into_iter().flatten().next().unwrap_or_else(|| Err(lost()))?;
        let response = item.into_whole().ok_or_else(lost)?;
        let Request { cache, call, .. } = &*own;
        cache.report_verification::<T>(T::equivalent(&known, &response), &call.body, call.tenant.clone(), age);
        Ok(())
    });
}

/// Obtains all items of a request that no caller waits for.
fn obtain_all<T, S>(
    request: &Arc<Request<T>>,
    service: &S,
) -> impl Future<Output = List<Obtained<T::Output>>> + Send + use<T, S>
where
    T: Operation,
    S: LlmService<T>,
{
    let all: List<usize> = (0..request.items.keys.len()).collect();
    obtain(request, service, &all, false, &mut || ())
}

/// Returns a slot for a call for some items. `None` if calls for all of them run already, if the request must not be sent
/// again, or if the caller wants no call.
fn slot<T: Operation>(request: &Request<T>, at: &[usize]) -> Option<Slot> {
    let Request { cache, directive, call, items, .. } = request;
    let tasks = cache.background.as_ref()?;
    if directive.only_if_cached || !call.body.is_repeatable() {
        return None;
    }
    let idle =
        at.iter().map(|at| &items.keys[*at]).filter(|keys| !cache.single_flights.is_running(&keys.single_flight));
    let slot = tasks.slot(idle.map(|keys| keys.entry.clone()).collect());
    if let Err(Denied::Full) = slot {
        cache.counts.skipped.one();
    }
    slot.ok()
}

fn start(cache: &Inner, slot: Slot, call: impl Future<Output = Result<(), Error>> + Send + 'static) {
    if let Some(tasks) = &cache.background {
        tasks.run(slot, call);
    }
}
