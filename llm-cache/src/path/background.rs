//! Calls that no caller waits for: revalidation of expired entries, and verification of a share of the hits.

use std::{collections::HashSet, sync::Arc};

use llm_core::{
    Call, Error, Operation, Priority,
    layer::{Complete, LlmService, NestedRetry, Purpose},
};

use super::{
    context::CallContext,
    items::Items,
    join::obtain,
    lookup::{Found, Stored},
};
use crate::{
    Key,
    failure::lost,
    inner::Inner,
    tasks::{Denied, Slot},
    verification::VerificationSampler,
};

/// Draws whether a hit is verified.
pub(crate) fn is_drawn<C>(cache: &Inner, found: &Found<C>) -> bool {
    matches!(found, Found::Fresh(_)) && cache.verification.as_ref().is_some_and(VerificationSampler::draws)
}

/// Replaces the entries of some items with one call in the background.
pub(crate) fn revalidate<T, S>(cx: &CallContext<S>, call: &Call<T>, items: &Items<T>, mut stale: Vec<usize>)
where
    T: Operation,
    S: LlmService<T>,
{
    let Some(slot) = slot(cx, call, items, &stale) else { return };
    let claimed: HashSet<&Key> = slot.keys().iter().collect();
    stale.retain(|at| claimed.contains(&items.keys[*at].answer));
    let directive = cx.directive.revalidating();
    let own = CallContext { directive, counter: |counts| &counts.revalidated, ..cx.clone() };
    let obtained = obtain(&own, &unattended(call, Purpose::Revalidation), items, &stale, false);
    start(cx, slot, async move {
        let items: Result<Vec<_>, Error> = obtained.await.into_iter().flatten().collect();
        items.map(drop)
    });
}

/// Sends the call of a hit again in the background, and reports whether the responses agree. The new one is stored.
pub(crate) fn verify<T, S>(cx: &CallContext<S>, call: &Call<T>, items: &Items<T>, stored: &Stored<Complete<T>>)
where
    T: Operation,
    S: LlmService<T>,
{
    let Some(slot) = slot(cx, call, items, &[0]) else { return };
    let directive = cx.directive.clone().no_cache();
    let own = CallContext { directive, counter: |counts| &counts.verified, ..cx.clone() };
    let call = unattended(call, Purpose::Verification);
    let obtained = obtain(&own, &call, items, &[0], false);
    let (cache, known, age) = (Arc::clone(&cx.cache), Arc::clone(&stored.answer), stored.entry.age(cx.cache.now()));
    start(cx, slot, async move {
        let item = obtained.await.into_iter().flatten().next().unwrap_or_else(|| Err(lost()))?;
        let answer = item.into_whole().ok_or_else(lost)?;
        cache.report_verification::<T>(T::equivalent(&known, &answer), &call.body, call.tenant, age);
        Ok(())
    });
}

/// A call like this one that no caller waits for: of the same tenant, in the background, and no sale.
fn unattended<T: Clone>(call: &Call<T>, purpose: Purpose) -> Call<T> {
    let mut own = Call::new(call.tenant.clone(), call.body.clone()).with_units(0).with_priority(Priority::Background);
    own.labels = call.labels.clone();
    own.extensions = call.extensions.clone();
    // A retry layer above the cache does not see this call.
    own.extensions.remove::<NestedRetry>();
    own.extensions.insert(purpose);
    own
}

/// A place for a call for some items, unless calls for all of them run already, the question may not be sent again, or the
/// caller wants no call. A shared entry is one, for all tenants.
fn slot<T: Operation, S>(cx: &CallContext<S>, call: &Call<T>, items: &Items<T>, at: &[usize]) -> Option<Slot> {
    let CallContext { cache, directive, .. } = cx;
    let tasks = cache.background.as_ref()?;
    if directive.only_if_cached || !call.body.is_repeatable() {
        return None;
    }
    let idle =
        at.iter().map(|at| &items.keys[*at]).filter(|keys| !cache.single_flights.is_running(&keys.single_flight));
    let slot = tasks.slot(idle.map(|keys| keys.answer.clone()).collect());
    if let Err(Denied::Full) = slot {
        cache.counts.skipped.one();
    }
    slot.ok()
}

fn start<S>(cx: &CallContext<S>, slot: Slot, call: impl Future<Output = Result<(), Error>> + Send + 'static) {
    if let Some(tasks) = &cx.cache.background {
        tasks.run(slot, call);
    }
}
