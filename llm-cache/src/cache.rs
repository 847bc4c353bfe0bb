use std::{
    any::Any,
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use llm_core::{Call, Clock, Facts, Operation, Origin, Priority, SerializeError};
use serde::Serialize;

use crate::{
    CacheBuilder, Caps, Directive, Key, Tag,
    builder::Keep,
    flight::{Boarding, Flights, Guard, Pass, arrival},
    freshness::{Freshness, Verdict},
    generations::{Generations, Moment},
    key::Lent,
    memory::{Entry, Memory, Source},
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
    pub(crate) caps: Caps,
    memory: Memory,
    generations: Generations,
    freshness: Freshness,
    max_answer_bytes: u64,
    keep: Keep,
    clock: Arc<dyn Clock>,
    counts: Counts,
}

/// A stored answer.
pub(crate) struct Stored<C> {
    pub(crate) answer: Arc<C>,
    pub(crate) entry: Arc<Entry>,
}

impl<C> Clone for Stored<C> {
    fn clone(&self) -> Self {
        Self { answer: Arc::clone(&self.answer), entry: Arc::clone(&self.entry) }
    }
}

/// What the store has for a call.
pub(crate) enum Found<C> {
    /// An answer to serve.
    Fresh(Stored<C>),
    /// An answer to serve, and to say that it is stale.
    Stale(Stored<C>),
    /// An answer for the case that the call fails.
    Spare(Stored<C>),
    /// An answer that is too old for this call.
    TooOld,
    /// Nothing.
    Nothing,
}

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    stale: AtomicU64,
    misses: AtomicU64,
    bypassed: AtomicU64,
    coalesced: AtomicU64,
    stored: AtomicU64,
}

/// What the cache has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Answers that were stored already, stale ones included.
    pub hits: u64,
    /// Those of `hits` that were past their time.
    pub stale: u64,
    /// Calls made because there was no answer.
    pub misses: u64,
    /// Calls made because they wanted the cache to keep out of it.
    pub bypassed: u64,
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
        let (inner, plain) = (&self.0, Directive::new());
        if let Found::Fresh(stored) = inner.look::<T>(key.lent(), &plain) {
            return Ok(Answered { origin: inner.hit(&stored.entry), value: stored.answer });
        }
        let mut call = Some(call);
        loop {
            let source = inner.begin([Tag::tenant(key.tenant())].into());
            let joins = |begun| inner.allows(&source, begun);
            let pass = Pass { priority: Priority::Interactive, begun: source.begun, joins: &joins };
            let Boarding { mut seat, led } = inner.flights.board(key, &pass, |guard| {
                let own = call.take().expect("whoever leads returns");
                Box::pin(ask(Arc::clone(inner), key.clone(), guard, source.clone(), own))
            });
            let landed = arrival(&mut seat).await.ok_or(CallError::Panicked)?;
            let origin = match (&landed.stored, led) {
                (Some(entry), _) => inner.hit(entry),
                (None, true) => inner.missed(),
                (None, false) => inner.coalesced(),
            };
            // Another type under the same key is somebody else's: his call is over, so this one makes its own.
            match landed.answer.map(|answer| answer.downcast()).map_err(|error| error.downcast()) {
                Ok(Ok(value)) => return Ok(Answered { value, origin }),
                Err(Ok(error)) => return Err(CallError::Failed(error)),
                Ok(Err(_)) | Err(Err(_)) if call.is_none() => return Err(CallError::Panicked),
                Ok(Err(_)) | Err(Err(_)) => {}
            }
        }
    }

    /// What the cache has done so far. It settles moka's books, so it is not for hot paths.
    pub fn stats(&self) -> Stats {
        let Inner { memory, counts, flights, .. } = &*self.0;
        let (entries, bytes) = memory.size();
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            hits: load(&counts.hits),
            stale: load(&counts.stale),
            misses: load(&counts.misses),
            bypassed: load(&counts.bypassed),
            coalesced: load(&counts.coalesced),
            stored: load(&counts.stored),
            entries,
            bytes,
            running: flights.count() as u64,
        }
    }

    /// Drops one answer, if it is stored.
    pub fn remove(&self, key: &Key) {
        self.0.memory.remove(key.lent());
    }

    /// Drops all answers with a tag, at once, however many they are. No call made from now on gets an answer with it whose
    /// call began before: neither a stored nor a stale nor a running one.
    pub fn invalidate(&self, tag: Tag) {
        self.0.generations.invalidate(tag, self.0.now());
    }

    /// Drops all answers to a tenant, and empties the room they take. It looks at every entry.
    pub fn forget(&self, tenant: &str) {
        self.invalidate(Tag::tenant(tenant));
        self.0.memory.remove_if(|key, _| key.tenant() == tenant);
    }

    /// Drops all answers, those of calls that run now too.
    pub fn clear(&self) {
        self.0.generations.invalidate_all(self.0.now());
        self.0.memory.clear();
    }
}

/// What a call without a stack brings: of any type, since its key says nothing of that.
#[derive(Clone)]
struct Landed {
    answer: Result<Shared, Shared>,
    stored: Option<Arc<Entry>>,
}

type Shared = Arc<dyn Any + Send + Sync>;

/// Makes a call, unless its answer has been stored meanwhile, and stores the answer.
async fn ask<T, E, F, Fut>(cache: Arc<Inner>, key: Key, guard: Guard, source: Source, call: F) -> Landed
where
    T: Serialize + Send + Sync + 'static,
    E: Send + Sync + 'static,
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    if let Some(Stored { answer, entry }) = cache.fresh::<T>(key.lent(), &Directive::new()) {
        return Landed { answer: Ok(answer), stored: Some(entry) };
    }
    let answer = call().await.map(Arc::new);
    if let Ok(answer) = &answer {
        let stay = Stay { ttl: cache.freshness.ttl, weight: None, source };
        cache.store(key, Arc::clone(answer), Facts::default(), stay);
    }
    drop(guard);
    let answer = answer.map(|answer| answer as Shared).map_err(|error| Arc::new(error) as Shared);
    Landed { answer, stored: None }
}

/// How an answer is kept.
pub(crate) struct Stay {
    pub(crate) ttl: Option<Duration>,
    /// What it takes in memory, in bytes, where that is known.
    pub(crate) weight: Option<u64>,
    pub(crate) source: Source,
}

impl Inner {
    pub(crate) fn new(
        namespace: Arc<str>,
        memory: Memory,
        freshness: Freshness,
        caps: Caps,
        max_answer_bytes: u64,
        keep: Keep,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (flights, generations, counts) = Default::default();
        Self { namespace, flights, caps, memory, generations, freshness, max_answer_bytes, keep, clock, counts }
    }

    /// What is stored under a key, if it is of this type, and what it is worth to a call.
    pub(crate) fn look<C: Send + Sync + 'static>(&self, key: Lent<'_>, directive: &Directive) -> Found<C> {
        let Some(entry) = self.memory.get(key) else { return Found::Nothing };
        let Some(answer) = entry.answer() else { return Found::Nothing };
        if !self.allows(&entry.source, entry.source.begun) {
            self.memory.remove(key);
            return Found::Nothing;
        }
        let verdict = self.freshness.judge(entry.stored_at, entry.fresh_until, self.clock.now(), directive);
        match verdict {
            Verdict::Fresh => Found::Fresh(Stored { answer, entry }),
            Verdict::Stale => Found::Stale(Stored { answer, entry }),
            Verdict::Spare => Found::Spare(Stored { answer, entry }),
            Verdict::TooOld => Found::TooOld,
            Verdict::Expired => {
                self.memory.remove(key);
                Found::Nothing
            }
        }
    }

    /// The fresh answer under a key.
    pub(crate) fn fresh<C: Send + Sync + 'static>(&self, key: Lent<'_>, directive: &Directive) -> Option<Stored<C>> {
        match self.look(key, directive) {
            Found::Fresh(stored) => Some(stored),
            _ => None,
        }
    }

    pub(crate) fn ttl<T: Operation>(&self, call: &Call<T>, directive: &Directive) -> Option<Duration> {
        self.freshness.ttl(call, directive)
    }

    /// A call begins, whose answer will have these tags.
    pub(crate) fn begin(&self, tags: Arc<[Tag]>) -> Source {
        Source { begun: self.generations.moment(self.now()), tags }
    }

    /// Whether what has these tags and began at a moment has not been invalidated since.
    pub(crate) fn allows(&self, source: &Source, begun: Moment) -> bool {
        self.generations.allow(&source.tags, begun)
    }

    /// Stores an answer, if the application would keep it, it is not too large, and it has not been invalidated.
    pub(crate) fn store<C>(&self, key: Key, answer: Arc<C>, facts: Facts, stay: Stay)
    where
        C: Serialize + Send + Sync + 'static,
    {
        let Stay { ttl, weight, source } = stay;
        if !self.keep.allows(&*answer) || !self.allows(&source, source.begun) {
            return;
        }
        let now = self.clock.now();
        let until = self.freshness.fresh_until(now, ttl, key.as_bytes());
        let entry = Entry::new(&key, answer, weight, facts, (now, until), source);
        let entry = entry.filter(|entry| entry.bytes() <= self.max_answer_bytes);
        if entry.is_some_and(|entry| self.memory.put(key, entry)) {
            self.counts.stored.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn hit(&self, entry: &Entry) -> Origin {
        self.hits();
        Origin::Cache { tier: "memory", age: entry.age(self.now()) }
    }

    pub(crate) fn hits(&self) {
        self.counts.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    pub(crate) fn stale(&self, entry: &Entry) -> Origin {
        self.counts.stale.fetch_add(1, Ordering::Relaxed);
        self.hit(entry)
    }

    pub(crate) fn missed(&self) -> Origin {
        self.counts.misses.fetch_add(1, Ordering::Relaxed);
        Origin::Vendor
    }

    pub(crate) fn bypassed(&self) {
        self.counts.bypassed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn coalesced(&self) -> Origin {
        self.counts.coalesced.fetch_add(1, Ordering::Relaxed);
        Origin::Coalesced
    }
}

impl<T> Clone for Answered<T> {
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
