//! Requests on the path of a call, their items, and the sending of their calls.
//!
//! Equal items of a request are one item with several positions, so that each is looked up, sent and stored once. A
//! request that cannot be divided, or has one item, counts as a single item, and its body is not copied.

use std::{collections::HashMap, future::Future, sync::Arc};

use futures_util::FutureExt;
use llm_core::{
    Call, Error, Operation, Output, Priority, Receipt, Reply,
    layer::{Accounting, Complete, End, LlmService, Members, NestedRetry, Purpose, SharedDeadline, oneshot},
};
use smallvec::smallvec;

use crate::{
    CacheStatus, Directive, Key, Miss,
    entries::{Found, StoreOptions},
    failure::not_cached,
    inner::Inner,
    key::{CallKeys, KeyPrefix},
    list::List,
    observe::{Counter, Counts},
    store::Provenance,
};

/// Request with its call, its items, and the directive by which the cache treats it.
pub(crate) struct Request<T> {
    /// Cache that the request is for.
    pub(super) cache: Arc<Inner>,
    /// Directive of the call, restricted by the operator's policy.
    pub(super) directive: Directive,
    /// Call as its caller sent it.
    pub(super) call: Call<T>,
    /// Distinct items of the request; empty if the request itself is the only item.
    parts: Vec<T>,
    /// Keys of each item.
    pub(super) keys: List<CallKeys>,
    /// Index of the item at each position of the request.
    pub(super) positions: List<usize>,
    /// Counter of the calls that are sent for the request.
    pub(super) counter: Count,
    /// True if the request is sent again to verify a fresh hit.
    pub(crate) verifies: bool,
}

/// Function that selects a counter.
pub(super) type Count = fn(&Counts) -> &Counter;

impl<T: Operation> Request<T> {
    /// Creates a caller's request that is a single item.
    pub(crate) fn one(cache: Arc<Inner>, directive: Directive, call: Call<T>, keys: CallKeys) -> Self {
        let counter: Count = match directive.no_cache {
            true => |counts| &counts.bypassed,
            false => |counts| &counts.misses,
        };
        let (parts, keys, positions) = (Vec::new(), smallvec![keys], smallvec![0]);
        Self { cache, directive, call, parts, keys, positions, counter, verifies: false }
    }

    /// Creates a caller's request that is divided into these items, which must not be empty.
    pub(crate) fn divided(cache: Arc<Inner>, directive: Directive, call: Call<T>, items: Vec<T>) -> Self {
        let (mut parts, mut keys, mut positions) = (Vec::new(), List::new(), List::new());
        let prefix = KeyPrefix::of(&cache.namespace, &call, &directive);
        let mut known = HashMap::new();
        for item in items {
            let own = prefix.keys_of(&item);
            let at = *known.entry(own.entry.clone()).or_insert(parts.len());
            if at == parts.len() {
                keys.push(own);
                parts.push(item);
            }
            positions.push(at);
        }
        let first = keys[0].clone();
        Self { parts, keys, positions, ..Self::one(cache, directive, call, first) }
    }

    /// Creates a background request for some of the items. The request has the caller's tenant, labels and extensions,
    /// background priority, and zero units.
    pub(super) fn unattended(&self, purpose: Purpose, at: &[usize], directive: Directive, counter: Count) -> Arc<Self> {
        let Self { cache, call, .. } = self;
        let mut own =
            Call::new(call.tenant.clone(), call.body.clone()).with_units(0).with_priority(Priority::Background);
        own.labels = call.labels.clone();
        own.extensions = call.extensions.clone();
        // A retry layer above the cache does not retry the new call.
        own.extensions.remove::<NestedRetry>();
        // The callers that wait for the original call do not wait for this one.
        own.extensions.remove::<SharedDeadline>();
        own.extensions.remove::<Members>();
        own.extensions.insert(purpose);
        let parts = self.parts(at.iter().copied()).unwrap_or_default();
        let (keys, positions) = (at.iter().map(|at| self.keys[*at].clone()).collect(), (0..at.len()).collect());
        let cache = Arc::clone(cache);
        Arc::new(Self { cache, directive, call: own, parts, keys, positions, counter, verifies: false })
    }

    /// Returns `true` if the request itself is the only item.
    pub(super) fn is_one(&self) -> bool {
        self.parts.is_empty()
    }

    /// Returns the item with this index.
    pub(super) fn part(&self, at: usize) -> &T {
        self.parts.get(at).unwrap_or(&self.call.body)
    }

    /// Returns the items at some indices; `None` if the request itself is the only item.
    pub(super) fn parts(&self, at: impl Iterator<Item = usize>) -> Option<Vec<T>> {
        (!self.is_one()).then(|| at.map(|at| self.parts[at].clone()).collect())
    }

    /// Returns the keys of the items' entries.
    pub(super) fn entries(&self) -> List<&Key> {
        self.keys.iter().map(|keys| &keys.entry).collect()
    }

    /// Looks up the items in the local tier. With `no_cache` nothing is found.
    pub(crate) fn peek(&self) -> List<Found<Complete<T>>> {
        let Self { cache, directive, .. } = self;
        self.keys.iter().map(|keys| cache.entries.peek(keys.entry.borrowed(), directive)).collect()
    }

    /// Returns the error with which the vendor recently refused the request, and counts a hit of the negative cache.
    /// Errors of divided requests are not remembered.
    pub(super) fn negative(&self) -> Option<Error> {
        let (Inner { entries, counts, .. }, key) = (&*self.cache, self.negative_key()?);
        let negative_cache = self.cache.negative_cache.as_ref()?;
        let error = negative_cache.get(key, entries.now(), |provenance| entries.is_valid(provenance))?;
        counts.negative_hits.one();
        Some(CacheStatus::add_to_error(error))
    }

    /// Remembers the error of a call in the negative cache, if the request alone caused the error.
    pub(super) fn remember(&self, error: &Error, provenance: Provenance) {
        if let (Some(negative_cache), Some(key)) = (&self.cache.negative_cache, self.negative_key()) {
            negative_cache.put(key, error, provenance, self.cache.entries.now());
        }
    }

    /// Returns the key of the request in the negative cache; `None` if the request is divided, or is sent with
    /// `no_cache`.
    fn negative_key(&self) -> Option<&Key> {
        self.keys.first().filter(|_| self.is_one() && !self.directive.no_cache).map(|keys| &keys.single_flight)
    }

    /// Returns the reason for a call, if no item is served.
    pub(super) fn miss(&self, found: &[Found<Complete<T>>]) -> Miss {
        if self.directive.no_cache {
            return Miss::NoCache;
        }
        let mut reasons = found.iter().map(Found::miss);
        // The reason is unknown if the items have different reasons.
        let first = reasons.next().unwrap_or(Miss::Unknown);
        if reasons.all(|reason| reason == first) { first } else { Miss::Unknown }
    }

    /// Stores the complete response to the item at an index, if it is cacheable. `shared` returns the response as the
    /// `Arc` that the entry holds.
    pub(super) fn store(
        &self,
        at: usize,
        provenance: Provenance,
        response: &Complete<T>,
        shared: impl FnOnce() -> Arc<Complete<T>>,
        receipt: &Receipt,
    ) {
        let Self { cache, directive, call, keys, .. } = self;
        let (entries, part) = (&cache.entries, self.part(at));
        // The entry has the accounting of the response, without the values that depend on how one caller got the
        // response.
        let mut accounting = Accounting::default();
        receipt.edit(|receipt| accounting.copy_response(receipt));
        let is_cacheable = part.is_self_contained() && T::is_cacheable(response) && part.conforms(response);
        if is_cacheable && entries.admits(response, &accounting) {
            let ttl = entries.freshness.ttl(call, directive);
            let options = StoreOptions { ttl, memory_size: T::memory_size(response), provenance };
            entries.put(&keys[at].entry, shared(), accounting, options);
        }
    }
}

/// Sends a call to the service below. Counts the call in `counter`, and also among the failed calls if it fails.
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

/// Counts a failed call, either at once or when its stream ends with an error.
pub(super) fn count_failure<O: Output>(counts: Arc<Counts>, reply: Result<Reply<O>, Error>) -> Result<Reply<O>, Error> {
    let reply = reply.inspect_err(|_| counts.failed_calls.one())?;
    Ok(reply.on_end(move |end, _| counts.failed_calls.add(u64::from(matches!(end, End::Failed(..))))))
}

/// Sends a call without a lookup and without storing its response. With `only_if_cached`, returns an error instead,
/// except in shadow mode.
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
