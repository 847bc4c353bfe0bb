//! A request on the path, and how its calls are sent.

use std::{future::Future, sync::Arc};

use futures_util::FutureExt;
use llm_core::{
    Call, Error, Operation, Output, Priority, Reply,
    layer::{Complete, End, LlmService, Members, NestedRetry, Purpose, SharedDeadline, oneshot},
};

use super::items::Items;
use crate::{
    CacheStatus, Directive, Miss,
    counts::{Counter, Counts},
    entries::Found,
    failure::not_cached,
    inner::Inner,
    key::CallKeys,
    store::Provenance,
};

/// A request on the path: its call, its items, and how the cache treats it.
pub(crate) struct Request<T> {
    /// Cache that the request is for.
    pub(super) cache: Arc<Inner>,
    /// Wishes of the call, limited by the operator's policy.
    pub(super) directive: Directive,
    /// Call as its caller sent it.
    pub(super) call: Call<T>,
    /// Items of the request, with their keys.
    pub(super) items: Items<T>,
    /// The counter of the calls that are sent for it.
    pub(super) counter: Count,
}

/// Selects a counter.
pub(super) type Count = fn(&Counts) -> &Counter;

impl<T: Operation> Request<T> {
    /// Creates a caller's own request.
    pub(crate) fn new(cache: Arc<Inner>, directive: Directive, call: Call<T>, items: Items<T>) -> Self {
        let counter: Count = match directive.no_cache {
            true => |counts| &counts.bypassed,
            false => |counts| &counts.misses,
        };
        Self { cache, directive, call, items, counter }
    }

    /// Creates a request for some of its items that no caller waits for: of the same tenant, in the background, and no sale.
    pub(super) fn unattended(&self, purpose: Purpose, at: &[usize], directive: Directive, counter: Count) -> Arc<Self> {
        let Self { cache, call, items, .. } = self;
        let mut own =
            Call::new(call.tenant.clone(), call.body.clone()).with_units(0).with_priority(Priority::Background);
        own.labels = call.labels.clone();
        own.extensions = call.extensions.clone();
        // A retry layer above the cache does not see this call.
        own.extensions.remove::<NestedRetry>();
        // Nor do the callers that wait for the call that it is like.
        own.extensions.remove::<SharedDeadline>();
        own.extensions.remove::<Members>();
        own.extensions.insert(purpose);
        Arc::new(Self { cache: Arc::clone(cache), directive, call: own, items: items.only(at), counter })
    }

    /// The error with which the vendor refused the request a short time ago. Divided requests are not remembered.
    pub(super) fn negative(&self) -> Option<Error> {
        self.cache.negative_error(self.negative_keys()?)
    }

    /// Remembers the error of a call, if it is due to the request alone.
    pub(super) fn remember(&self, error: &Error, provenance: Provenance) {
        if let Some(keys) = self.negative_keys() {
            self.cache.remember_error(keys, error, provenance);
        }
    }

    /// The keys of the request in the negative cache.
    fn negative_keys(&self) -> Option<&CallKeys> {
        self.items.keys.first().filter(|_| self.items.is_one() && !self.directive.no_cache)
    }

    /// The reason for a call, if no item is served.
    pub(super) fn miss(&self, found: &[Found<Complete<T>>]) -> Miss {
        if self.directive.no_cache {
            return Miss::NoCache;
        }
        let mut whys = found.iter().map(|found| found.miss(|| self.cache.entries.now()));
        // One reason if all have the same.
        let first = whys.next().unwrap_or(Miss::Unknown);
        if whys.all(|why| why == first) { first } else { Miss::Unknown }
    }
}

/// Sends a call to the service below. Counts it, and counts it again if it fails.
pub(super) fn send<T, S>(
    counts: &Arc<Counts>,
    counter: Count,
    service: S,
    call: Call<T>,
) -> impl Future<Output = Result<Reply<T::Output>, Error>> + Send + use<T, S>
where
    T: Operation,
    S: LlmService<T>,
{
    counter(counts).one();
    let counts = Arc::clone(counts);
    oneshot(service, call).map(move |reply| count_failure(counts, reply))
}

/// Counts a failed call: at once, or when its stream breaks off.
pub(super) fn count_failure<O: Output>(counts: Arc<Counts>, reply: Result<Reply<O>, Error>) -> Result<Reply<O>, Error> {
    let reply = reply.inspect_err(|_| counts.failed_calls.one())?;
    Ok(reply.on_end(move |end, _| counts.failed_calls.add(u64::from(matches!(end, End::Failed(..))))))
}

/// Sends a call that the cache neither looks up nor stores, unless the call wants stored responses only.
pub(crate) async fn bypass<T, S>(
    cache: Arc<Inner>,
    service: S,
    call: Call<T>,
    only_if_cached: bool,
) -> Result<Reply<T::Output>, Error>
where
    T: Operation,
    S: LlmService<T>,
{
    if only_if_cached && !cache.is_shadow {
        return Err(not_cached());
    }
    let mut reply = send(&cache.counts, |counts| &counts.bypassed, service, call).await?;
    CacheStatus::Miss(Miss::NoStore).insert_into(&mut reply.extensions);
    Ok(reply)
}
