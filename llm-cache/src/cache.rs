use std::{fmt, future::Future, sync::Arc};

use llm_core::{Call, Origin, Usd, layer::SerializeError};
use serde::{Serialize, de::DeserializeOwned};
use smallvec::smallvec;

use crate::{
    CacheBuilder, Directive, Key, StoreError, Tag,
    counts::Counter,
    inner::Inner,
    key::CallKeys,
    keyed::{Closure, Keyed, Value, failure},
    path::{Found, Items, Request, answer, from_entry, shadow},
    store::StoreStats,
};

/// The cache itself, with or without a stack: answers by key, and one running call for all who ask the same.
///
/// Clones share everything. For the layer around a service see [`CacheLayer`](crate::CacheLayer).
///
/// ```
/// use std::time::Duration;
/// use llm_cache::Cache;
///
/// # tokio_test::block_on(async {
/// # async fn ask(_: &str) -> Result<String, std::io::Error> { Ok("Paris".into()) }
/// let cache = Cache::builder("geography").ttl(Duration::from_secs(7 * 24 * 3600)).build()?;
///
/// let question = "What is the capital of France?";
/// let key = cache.key("acme", "capital", question)?;
/// let answer = cache.get_or_call(&key, || ask(question)).await?;
/// assert_eq!(*answer.value, "Paris");
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Cache(pub(crate) Arc<Inner>);

/// What the cache has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Answers that were stored already, stale ones included.
    pub hits: u64,
    /// Those of `hits` that came of a store further away than memory.
    pub remote_hits: u64,
    /// Those of `hits` that were past their time.
    pub stale: u64,
    /// Calls made because there was no answer, counted when they are made, so those that fail too.
    pub misses: u64,
    /// Calls made because they wanted the cache to keep out of it.
    pub bypassed: u64,
    /// Calls that failed, of all that the cache made: `misses`, `bypassed`, `revalidated` and `verified`.
    pub failed_calls: u64,
    /// Answers that came of a call that was running already.
    pub coalesced: u64,
    /// Questions that were refused a short time ago and so were refused again.
    pub negative_hits: u64,
    /// Answers stored.
    pub stored: u64,
    /// Answers that were too large to store: larger than [`CacheBuilder::max_response_bytes`], or than the whole memory where
    /// answers are in memory only. The first is logged.
    pub too_large: u64,
    /// Failures of a store further away than memory; each counted as a miss there.
    pub store_errors: u64,
    /// Entries at rest that could not be read: tampered with, cut off, of another library, of a newer version, or without
    /// their key. Each was a miss.
    pub corrupt: u64,
    /// Answers that were to be written further away and were not: too many waited, too large, or the store failed.
    pub dropped_writes: u64,
    /// Calls made while all other processes that share the store waited for their answers.
    pub leased: u64,
    /// Times that this process waited for the answer to another's call.
    pub awaited: u64,
    /// Leases that ran out before the call that they were for was over.
    pub lost_leases: u64,
    /// Calls made in the background to replace answers past their time.
    pub revalidated: u64,
    /// Calls that the background had no room for.
    pub skipped: u64,
    /// Calls that went on in the background when their last caller had left.
    pub detached: u64,
    /// Hits that were asked again, by [`Verification`](crate::Verification).
    pub verified: u64,
    /// Those of `verified` with another answer.
    pub mismatched: u64,
    /// List price of the answers that did not have to be bought, as far as it is known.
    pub saved: Usd,
    /// Entries that had to make room for others, in any tier.
    pub evictions: u64,
    /// Entries now, in the store that is furthest away.
    pub entries: u64,
    /// Bytes they count for now.
    pub bytes: u64,
    /// Calls running now.
    pub running: u64,
}

/// An answer from [`Cache::get_or_call`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Resolved<T> {
    /// The answer, shared with the cache.
    pub value: Arc<T>,
    /// True if it was stored, how long ago, or whose call it came of.
    pub origin: Origin,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The call failed; everybody who waited for it gets this. It is not remembered.
    #[error(transparent)]
    Failed(Arc<E>),
    /// The call panicked, or it needs a tokio runtime that has ended.
    #[error("the shared call panicked, or the runtime that it began in has ended")]
    Panicked,
}

impl Cache {
    /// Begins a cache. The namespace tells apart what else might be stored in the same place: another service, another
    /// vendor, another version of the prompts.
    pub fn builder(namespace: impl Into<Arc<str>>) -> CacheBuilder {
        CacheBuilder::new(namespace.into())
    }

    /// The key of a question of any serializable type, in this cache's namespace: see [`Key::of`].
    ///
    /// # Errors
    ///
    /// What the question's own `Serialize` reports.
    pub fn key(&self, tenant: &str, name: &str, question: &(impl Serialize + ?Sized)) -> Result<Key, SerializeError> {
        Key::of(&self.0.namespace, tenant, name, question)
    }

    /// The stored answer, or that of the call that runs under this key, or that of a `call` made now and then stored.
    ///
    /// The call survives the cancellation of everybody but the last who waits for it. Only fresh answers are served: what a
    /// foreign error says of the vendor is not known here, so [`CacheBuilder::stale_if_error`] has no part in this. It is
    /// stored for [`CacheBuilder::ttl`]: no [`TtlRule`](crate::TtlRule) applies.
    ///
    /// # Errors
    ///
    /// What `call` reports, to all who waited for it; it is not stored.
    pub async fn get_or_call<T, E, F, Fut>(&self, key: &Key, call: F) -> Result<Resolved<T>, CallError<E>>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let (cache, closure) = (&self.0, Closure::new(call));
        let directive = Directive::only_fresh(cache.freshness.ttl.default);
        loop {
            let found = cache.peek::<Value<T>>(key.borrowed(), &directive);
            let reply = match found {
                Found::Fresh(stored) if !cache.is_shadow => Ok(from_entry(cache, stored, None)),
                found => {
                    let call = Call::new(key.tenant(), Keyed::<T>::new());
                    let items = Items::one(CallKeys { answer: key.clone(), single_flight: key.clone() });
                    let request = Arc::new(Request::new(Arc::clone(cache), directive.clone(), call, items));
                    match cache.is_shadow {
                        true => shadow(request, closure.clone(), smallvec![found]).await,
                        false => answer(request, closure.clone(), smallvec![found]).await,
                    }
                }
            };
            match reply {
                Ok(reply) => return Ok(Resolved { origin: reply.receipt.origin(), value: reply.output.0 }),
                Err(error) => match failure::<E>(&error) {
                    Some(Some(error)) => return Err(CallError::Failed(error)),
                    // The error of another caller's type under the same key: its call is over, so this one calls itself.
                    Some(None) if closure.is_left() => {}
                    _ => return Err(CallError::Panicked),
                },
            }
        }
    }

    /// What the cache has done so far. It settles moka's books, so it is not for hot paths.
    pub fn stats(&self) -> Stats {
        let Inner { store, counts, single_flights, .. } = &*self.0;
        let StoreStats { entries, bytes, corrupt, dropped_writes, failed, leases: [leased, awaited, lost_leases] } =
            store.stats();
        let load = Counter::get;
        Stats {
            hits: load(&counts.hits),
            remote_hits: load(&counts.remote_hits),
            stale: load(&counts.stale),
            misses: load(&counts.misses),
            bypassed: load(&counts.bypassed),
            failed_calls: load(&counts.failed_calls),
            coalesced: load(&counts.coalesced),
            stored: load(&counts.stored),
            too_large: load(&counts.too_large),
            store_errors: load(&counts.store_errors) + failed,
            corrupt,
            dropped_writes,
            leased,
            awaited,
            lost_leases,
            negative_hits: load(&counts.negative_hits),
            revalidated: load(&counts.revalidated),
            skipped: load(&counts.skipped),
            detached: load(&counts.detached),
            verified: load(&counts.verified),
            mismatched: load(&counts.mismatched),
            saved: Usd::from_nanos(i64::try_from(load(&counts.saved)).unwrap_or(i64::MAX)),
            evictions: store.evictions(),
            entries,
            bytes,
            running: single_flights.count() as u64,
        }
    }

    /// Drops one answer, if it is stored. What is running is not touched: who asks meanwhile joins it, and its answer is
    /// stored; [`invalidate`](Self::invalidate) keeps that from happening.
    ///
    /// Of a question with several answers ([`CacheBuilder::variants`]) this is the first, and what is shared by scope has no
    /// such key: drop these by a tag.
    ///
    /// # Errors
    ///
    /// If a store further away than memory fails. The answer is then gone from memory only.
    pub async fn remove(&self, key: &Key) -> Result<(), StoreError> {
        if let Some(negative_cache) = &self.0.negative_cache {
            negative_cache.remove(key);
        }
        self.0.store.remove(key).await
    }

    /// Drops all answers with a tag, at once, however many they are. No call made from now on gets an answer with it whose
    /// call began before: neither a stored nor a stale nor a running one. This holds in this process as soon as the
    /// future is first polled.
    ///
    /// Up to 10,000 tags are remembered one by one, by a file over restarts too. One more, and everything stored before is
    /// dropped. So tag by what changes together (a version, a tenant), not each answer with a tag of its own:
    /// [`remove`](Self::remove) is for one.
    ///
    /// # Errors
    ///
    /// If a store further away than memory fails to remember it.
    pub async fn invalidate(&self, tag: Tag) -> Result<(), StoreError> {
        let timestamp = self.0.epochs.invalidate(tag.clone(), self.0.store_time());
        self.0.store.invalidate(Some(&tag), timestamp).await
    }

    /// Drops all answers to a tenant, and empties the room they take, in every tier. It looks at every entry in memory.
    ///
    /// # Errors
    ///
    /// If a store further away than memory fails.
    pub async fn forget(&self, tenant: &str) -> Result<(), StoreError> {
        let remembered = self.invalidate(Tag::tenant(tenant)).await;
        if let Some(negative_cache) = &self.0.negative_cache {
            negative_cache.forget(tenant);
        }
        // Memory is emptied even if a store further away fails.
        remembered.and(self.0.store.forget(tenant).await)
    }

    /// Drops all answers, those of calls that run now too.
    ///
    /// # Errors
    ///
    /// If a store further away than memory fails.
    pub async fn clear(&self) -> Result<(), StoreError> {
        let timestamp = self.0.epochs.invalidate_all(self.0.store_time());
        let remembered = self.0.store.invalidate(None, timestamp).await;
        if let Some(negative_cache) = &self.0.negative_cache {
            negative_cache.clear();
        }
        remembered.and(self.0.store.clear().await)
    }

    /// Waits until the calls in the background have ended, for a minute at most, and all answers that were stored are
    /// where they shall be. With Redis it also waits, for a minute at most, until this process holds no lease any more: of
    /// the calls that run when it is called, and of those that have ended. The cache can still be used.
    ///
    /// # Errors
    ///
    /// If a store further away than memory fails. With Redis, the error says how many leases are still held, or how many
    /// answers were not written because the runtime that the cache was opened on has ended.
    pub async fn close(&self) -> Result<(), StoreError> {
        if let Some(background) = &self.0.background {
            background.idle().await;
        }
        self.0.store.close().await
    }
}

impl<T> Clone for Resolved<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), origin: self.origin }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("namespace", &self.0.namespace)
            .field("freshness", &self.0.freshness)
            .finish_non_exhaustive()
    }
}
