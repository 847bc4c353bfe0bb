use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use llm_core::{Clock, Facts, Origin, SerializeError, SystemClock};
use serde::Serialize;

use crate::{
    Key,
    flight::{Boarding, Flights, arrival},
    memory::{Entry, Memory},
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

pub(crate) struct Inner {
    pub(crate) namespace: Arc<str>,
    pub(crate) flights: Arc<Flights>,
    memory: Memory,
    ttl: Option<Duration>,
    clock: Arc<dyn Clock>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    coalesced: AtomicU64,
    stored: AtomicU64,
}

/// What the cache has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Answers that were stored already.
    pub hits: u64,
    /// Calls made.
    pub misses: u64,
    /// Answers that came of a call that was running already.
    pub coalesced: u64,
    /// Answers stored.
    pub stored: u64,
    /// Entries now.
    pub entries: u64,
    /// Bytes they count for now.
    pub bytes: u64,
    /// Calls running now.
    pub running: u64,
}

/// An answer from [`Cache::get_or_call`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Answered<T> {
    /// The answer, shared with the cache.
    pub value: Arc<T>,
    /// Whether it was stored, how long ago, or whose call it came of.
    pub origin: Origin,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The call failed; everybody who waited for it gets this. It is not remembered.
    #[error(transparent)]
    Failed(Arc<E>),
    /// The call panicked.
    #[error("the call panicked while another caller drove it")]
    Panicked,
}

/// Settings of a [`Cache`].
#[derive(Clone, Debug)]
#[must_use]
pub struct CacheBuilder {
    namespace: Arc<str>,
    ttl: Option<Duration>,
    max_bytes: u64,
    clock: Arc<dyn Clock>,
}

/// Settings that make no cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The namespace is empty.
    #[error("the namespace is empty: name the service or the vendor whose answers these are")]
    Namespace,
    /// The time to live is zero.
    #[error("a time to live of zero stores nothing: set a longer one, or leave the cache out")]
    Ttl,
    /// The capacity is zero.
    #[error("a capacity of zero bytes stores nothing: set a larger one, or leave the cache out")]
    Capacity,
}

impl Cache {
    /// Begins a cache. The namespace tells apart what else might be stored in the same place: another service, another
    /// vendor, another version of the prompts.
    pub fn builder(namespace: impl Into<Arc<str>>) -> CacheBuilder {
        CacheBuilder {
            namespace: namespace.into(),
            ttl: Some(Duration::from_secs(24 * 3600)),
            max_bytes: 64 << 20,
            clock: Arc::new(SystemClock),
        }
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
    /// The call survives the cancellation of everybody but the last who waits for it.
    ///
    /// # Errors
    ///
    /// What `call` reports, to all who waited for it; it is not stored.
    pub async fn get_or_call<T, E, F, Fut>(&self, key: &Key, call: F) -> Result<Answered<T>, CallError<E>>
    where
        T: Serialize + Send + Sync + 'static,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let inner = &self.0;
        if let Some((value, entry)) = inner.find::<T>(key.as_bytes()) {
            return Ok(Answered { value, origin: inner.hit(&entry) });
        }
        let boarding = inner.flights.board(
            key,
            || inner.find::<T>(key.as_bytes()),
            |landing| {
                let (cache, key) = (Arc::clone(inner), key.clone());
                Box::pin(async move {
                    let answer = call().await.map(Arc::new).map_err(Arc::new);
                    if let Ok(answer) = &answer {
                        cache.store(key, Arc::clone(answer), Facts::default());
                    }
                    drop(landing);
                    answer
                })
            },
        );
        let (mut seat, origin) = match boarding {
            Boarding::Found((value, entry)) => return Ok(Answered { value, origin: inner.hit(&entry) }),
            Boarding::Led(seat) => (seat, inner.missed()),
            Boarding::Joined(seat) => (seat, inner.coalesced()),
        };
        let value = arrival(&mut seat).await.ok_or(CallError::Panicked)?.map_err(CallError::Failed)?;
        Ok(Answered { value, origin })
    }

    /// What the cache has done so far. It settles moka's books, so it is not for hot paths.
    pub fn stats(&self) -> Stats {
        let Inner { memory, counts, flights, .. } = &*self.0;
        let (entries, bytes) = memory.size();
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            hits: load(&counts.hits),
            misses: load(&counts.misses),
            coalesced: load(&counts.coalesced),
            stored: load(&counts.stored),
            entries,
            bytes,
            running: flights.count() as u64,
        }
    }

    /// Drops all answers. Calls that run now still store theirs.
    pub fn clear(&self) {
        self.0.memory.clear();
    }
}

impl Inner {
    /// The fresh answer under a key, if it is of this type.
    pub(crate) fn find<C: Send + Sync + 'static>(&self, key: &[u8]) -> Option<(Arc<C>, Arc<Entry>)> {
        let entry = self.memory.get(key, self.clock.now())?;
        Some((entry.answer()?, entry))
    }

    pub(crate) fn store<C: Serialize + Send + Sync + 'static>(&self, key: Key, answer: Arc<C>, facts: Facts) {
        if let Some(entry) = Entry::new(&key, answer, facts, self.now(), self.ttl) {
            self.memory.put(key, entry);
            self.counts.stored.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn hit(&self, entry: &Entry) -> Origin {
        self.counts.hits.fetch_add(1, Ordering::Relaxed);
        Origin::Cache { tier: "memory", age: entry.age(self.now()) }
    }

    pub(crate) fn missed(&self) -> Origin {
        self.counts.misses.fetch_add(1, Ordering::Relaxed);
        Origin::Vendor
    }

    pub(crate) fn coalesced(&self) -> Origin {
        self.counts.coalesced.fetch_add(1, Ordering::Relaxed);
        Origin::Coalesced
    }

    fn now(&self) -> SystemTime {
        self.clock.now()
    }
}

impl CacheBuilder {
    /// How long an answer is served: a day by default.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Serves answers for ever, or until they must make room.
    pub fn no_expiry(mut self) -> Self {
        self.ttl = None;
        self
    }

    /// How many bytes of answers and keys to hold: 64 MiB by default. An answer counts as the length of its JSON text,
    /// its key's bytes and a fixed amount for the entry.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The clock that expiry goes by; the machine's own by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes the cache.
    ///
    /// # Errors
    ///
    /// An empty namespace, or a cache that could hold nothing.
    pub fn build(self) -> Result<Cache, BuildError> {
        let Self { namespace, ttl, max_bytes, clock } = self;
        if namespace.is_empty() {
            return Err(BuildError::Namespace);
        }
        if ttl.is_some_and(|ttl| ttl.is_zero()) {
            return Err(BuildError::Ttl);
        }
        if max_bytes == 0 {
            return Err(BuildError::Capacity);
        }
        let (flights, memory) = (Arc::default(), Memory::new(max_bytes));
        Ok(Cache(Arc::new(Inner { namespace, flights, memory, ttl, clock, counts: Counts::default() })))
    }
}

impl<T> Clone for Answered<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), origin: self.origin }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("namespace", &self.0.namespace).field("ttl", &self.0.ttl).finish_non_exhaustive()
    }
}
