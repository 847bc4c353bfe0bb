//! Tests of single flight and `get_or_call` with unusual callers: reentrant, unpolled and panicking ones.

use std::{
    future::Future,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture, future::join_all};
use llm_cache::{Cache, CacheLayer, Key};
use llm_core::{
    Call, Charge, ChatRequest, ChatResponse, ChatStream, Choice, Clock, EmbedRequest, Embeddings, Error, ErrorKind,
    FinishReason, Origin, Output, Part, Provider, Receipt, Reply, Usage, into_provider, into_service,
};
use llm_providers::{
    Ledger,
    scripted::{Rule, Scripted},
};
use llm_testkit::probe::CountPolls;
use tokio::time::{Instant, timeout};
use tower::{Layer, ServiceBuilder};

use crate::upstream::prices;

const HOUR: Duration = Duration::from_secs(3600);

fn key(n: u32) -> Key {
    Key::of("ns", "acme", "op", &n).expect("a number serializes")
}

fn cache() -> Cache {
    Cache::builder("ns").build().expect("the defaults are right")
}

fn ask(text: &str) -> Call<ChatRequest> {
    Call::new("acme", ChatRequest::new("gpt-4o-mini").user(text))
}

fn slow(seconds: u64) -> Arc<dyn Provider> {
    let upstream = Scripted::new().rule(Rule::say("x").after(Duration::from_secs(seconds)));
    into_provider(CacheLayer::new(cache()).layer(upstream))
}

type Answering = dyn Fn(Call<ChatRequest>) -> BoxFuture<'static, Result<Reply<ChatResponse>, Error>> + Send + Sync;

/// Provider that calls a function.
pub(crate) struct Made(Box<Answering>);

impl Made {
    pub(crate) fn of<F, A>(response: F) -> Arc<Self>
    where
        F: Fn(Call<ChatRequest>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Reply<ChatResponse>, Error>> + Send + 'static,
    {
        Arc::new(Self(Box::new(move |call| response(call).boxed())))
    }

    fn at_once() -> Arc<Self> {
        Self::of(|_| async { Ok(response()) })
    }
}

pub(crate) fn response() -> Reply<ChatResponse> {
    let receipt = Receipt::default();
    receipt.edit(|accounting| accounting.usage = Some(Usage::new(1_000, 100)));
    let choice = Choice::new(0, vec![Part::text("x")], FinishReason::Stop);
    Reply::new(ChatResponse::new("1", "gpt-4o-mini", vec![choice]), receipt)
}

#[async_trait::async_trait]
impl Provider for Made {
    async fn chat(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        (self.0)(call).await
    }
    async fn chat_stream(&self, call: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        self.chat(call).await?.try_map(|response| Ok(ChatStream::replay(Arc::new(response), None)))
    }
    async fn embed(&self, _: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        Err(Error::new(ErrorKind::Unsupported, "not here"))
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_of_leader_spares_waiters() {
    let provider = slow(10);
    let soon = (Instant::now() + Duration::from_secs(5)).into_std();
    let calls = (0..100).map(|n| provider.chat(if n == 0 { ask("a").with_deadline(soon) } else { ask("a") }));
    assert_eq!(join_all(calls).await.iter().filter(|reply| reply.is_err()).count(), 1);

    let provider = slow(60);
    let started = Instant::now();
    let hasty = async {
        let call = ask("b").with_deadline((started + Duration::from_secs(1)).into_std());
        (provider.chat(call).await.map(|_| ()).unwrap_err().kind(), started.elapsed())
    };
    let (patient, hasty) = tokio::join!(provider.chat(ask("b")), hasty);
    assert!(patient.is_ok());
    assert_eq!(hasty, (ErrorKind::DeadlineExceeded, Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn single_flight_reentrant_call_does_not_deadlock() {
    let twice = cache();
    let layers = ServiceBuilder::new().layer(CacheLayer::new(twice.clone())).layer(CacheLayer::new(twice));
    let provider = into_provider(layers.service(Scripted::new()));
    timeout(HOUR, provider.chat(ask("a"))).await.expect("no wait").unwrap();

    let (outer, inner) = (cache(), OnceLock::new());
    inner.set(outer.clone()).unwrap();
    let within = move || async move {
        let cache: &Cache = inner.get().expect("set above");
        let resolved = cache.get_or_call(&key(1), || async { Ok::<_, io::Error>(7u64) }).await;
        Ok::<_, io::Error>(*resolved.map_err(|_| io::Error::other("it does not fail"))?.value)
    };
    let resolved = timeout(HOUR, outer.get_or_call(&key(1), within)).await.expect("no wait").unwrap();
    assert_eq!(*resolved.value, 7);
}

#[tokio::test(start_paused = true)]
async fn single_flight_proceeds_despite_unpolled_callers() {
    for callers_of_a_task in [1, 8] {
        let provider = slow(1);
        for _ in 0..2 {
            let provider = Arc::clone(&provider);
            tokio::spawn(async move {
                let calls = (0..callers_of_a_task).map(|_| provider.chat(ask("a")));
                let mut calls = Box::pin(join_all(calls));
                tokio::select! { _ = &mut calls => unreachable!("it takes a second"), () = tokio::task::yield_now() => {} }
                tokio::time::sleep(HOUR).await;
                calls.await;
            });
        }
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        let started = Instant::now();
        provider.chat(ask("a")).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn single_flight_unary_waiters_sleep_behind_stream() {
    const CALLERS: u64 = 1_000;
    let words = Rule::say("w ".repeat(40)).after(Duration::from_millis(50)).pace(Duration::from_millis(5));
    let provider = into_provider(CacheLayer::new(cache()).layer(Scripted::new().rule(words)));
    let leader = tokio::spawn({
        let provider = Arc::clone(&provider);
        async move { provider.chat_stream(ask("a")).await.unwrap().output.complete().await.unwrap() }
    });
    tokio::task::yield_now().await;
    let polls = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let provider = Arc::clone(&provider);
            let call = async move { provider.chat(ask("a")).await.unwrap() };
            tokio::spawn(CountPolls::new(call, Arc::clone(&polls)))
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    leader.await.unwrap();
    let upstream_wakes = 45;
    assert!(polls.load(SeqCst) <= 3 * CALLERS + upstream_wakes, "{} polls", polls.load(SeqCst));
}

#[tokio::test(start_paused = true)]
async fn nested_caches_keep_ledger_balanced() {
    let ledger = Ledger::new(prices());
    let back = CacheLayer::new(Cache::builder("back").build().unwrap());
    let bottom = ServiceBuilder::new().layer(back).layer(ledger.attempts()).service(into_service(Made::at_once()));
    let stack = || {
        let front = CacheLayer::new(Cache::builder("front").build().unwrap());
        into_provider(ServiceBuilder::new().layer(ledger.requests()).layer(front).service(bottom.clone()))
    };
    stack().chat(ask("a")).await.unwrap();
    let second = stack().chat(ask("a")).await.unwrap();
    assert!(matches!(second.receipt.origin(), Origin::Cache { .. }));
    assert!(!second.receipt.saved().is_zero());
    assert!(ledger.snapshot().balance().is_balanced(), "{}", ledger.snapshot());
}

#[tokio::test(start_paused = true)]
async fn get_or_call_shares_across_error_types() {
    let (cache, calls, key) = (cache(), Arc::new(AtomicU64::new(0)), key(1));
    let counted = |calls: &Arc<AtomicU64>| {
        let calls = Arc::clone(calls);
        async move {
            calls.fetch_add(1, SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let (first, second) = (counted(&calls), counted(&calls));
    let one = cache.get_or_call(&key, move || async move {
        first.await;
        Ok::<u64, io::Error>(1)
    });
    let other = cache.get_or_call(&key, move || async move {
        second.await;
        Ok::<u64, std::fmt::Error>(1)
    });
    let (one, other) = tokio::join!(one, other);
    assert_eq!((*one.unwrap().value, *other.unwrap().value, calls.load(SeqCst)), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn single_flight_charges_failure_to_leader() {
    let ledger = Ledger::new(prices());
    let upstream = Made::of(|call| async move {
        call.mark_sent();
        tokio::time::sleep(Duration::from_secs(1)).await;
        Err(Error::new(ErrorKind::Malformed, "x").with_charge(Charge::Known(Usage::new(1_000, 100))))
    });
    let layers = ServiceBuilder::new().layer(ledger.attempts()).layer(CacheLayer::new(cache()));
    let provider = into_provider(layers.service(into_service(upstream)));
    join_all((0..10).map(|_| provider.chat(ask("a")))).await;
    assert_eq!(ledger.snapshot().total().paid.to_string(), "$0.00021");
}

#[tokio::test(start_paused = true)]
async fn single_flight_panic_charges_leader() {
    let upstream = Made::of(|call| async move {
        call.mark_sent();
        tokio::time::sleep(Duration::from_millis(5)).await;
        panic!("as asked")
    });
    let provider = into_provider(CacheLayer::new(cache()).layer(into_service(upstream)));
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let provider = Arc::clone(&provider);
            tokio::spawn(async move { provider.chat(ask("a")).await.map(|_| ()) })
        })
        .collect();
    // Only the leader is charged.
    for (caller, charge) in callers.into_iter().zip([Charge::Unknown, Charge::None]) {
        let error = caller.await.expect("no caller panics").unwrap_err();
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Other, charge));
    }
}

#[tokio::test(start_paused = true)]
async fn miss_returns_extensions_of_lower_layers() {
    #[derive(Clone)]
    struct Mark;
    let ledger = Ledger::new(prices());
    let upstream = Made::of(|_| async {
        let mut reply = response();
        reply.extensions.insert(Mark);
        Ok(reply)
    });
    let layers = ServiceBuilder::new().layer(CacheLayer::new(cache())).layer(ledger.attempts());
    let reply = into_provider(layers.service(into_service(upstream))).chat(ask("a")).await.unwrap();
    assert!(reply.extensions.get::<Mark>().is_some());
    assert_eq!(reply.receipt.paid().exact(), reply.receipt.cost());
}

static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// Large response that counts its live instances.
#[derive(serde::Deserialize)]
struct Large(String);

impl Large {
    fn new() -> Self {
        MOST.fetch_max(LIVE.fetch_add(1, SeqCst) + 1, SeqCst);
        Self("x".repeat(100_000))
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, SeqCst);
    }
}

impl serde::Serialize for Large {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[test]
fn max_bytes_frees_evicted_responses_at_once() {
    let cache = Cache::builder("ns").max_bytes(410_000).build().unwrap();
    for n in 0..300 {
        let call = || async { Ok::<_, io::Error>(Large::new()) };
        cache.get_or_call(&key(n), call).now_or_never().expect("nothing waits").unwrap();
    }
    assert!(MOST.load(SeqCst) <= 6, "{} answers of which four fit", MOST.load(SeqCst));
}

#[test]
fn too_large_response_is_not_counted_stored() {
    let cache = Cache::builder("ns").max_bytes(1_024).build().unwrap();
    let call = || async { Ok::<_, io::Error>("x".repeat(1_024)) };
    cache.get_or_call(&key(1), call).now_or_never().expect("nothing waits").unwrap();
    assert_eq!((cache.stats().stored, cache.stats().too_large), (0, 1));
}

/// Response whose drop calls the cache.
#[derive(serde::Deserialize)]
struct Nosy(String);

static ASKED: OnceLock<Cache> = OnceLock::new();

impl serde::Serialize for Nosy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        if let Some(cache) = ASKED.get() {
            let call = || async { Err::<u64, _>(io::Error::other("as asked")) };
            drop(cache.get_or_call(&key(4_000_000), call).now_or_never());
        }
    }
}

/// Clock that calls the cache.
#[derive(Debug, Clone, Default)]
struct Curious(Arc<OnceLock<Cache>>);

impl Clock for Curious {
    fn now(&self) -> std::time::SystemTime {
        if let Some(cache) = self.0.get() {
            let _ = cache.stats();
        }
        std::time::UNIX_EPOCH
    }
}

/// Runs `test` and fails, rather than hang, if it deadlocks.
fn without_deadlock(test: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    wait.recv_timeout(Duration::from_secs(30)).expect("no deadlock");
}

#[test]
fn drop_of_response_and_clock_may_reenter() {
    without_deadlock(|| {
        let cache = Cache::builder("ns").max_bytes(50_000).build().unwrap();
        assert!(ASKED.set(cache.clone()).is_ok());
        for n in 0..2_000 {
            let call = || async { Ok::<_, io::Error>(Nosy("x".repeat(1_000))) };
            drop(cache.get_or_call(&key(n), call).now_or_never());
        }
        cache.forget("acme").now_or_never().expect("nothing waits").unwrap();
        assert_eq!(cache.stats().entries, 0);
    });
    without_deadlock(|| {
        let clock = Curious::default();
        let cache = Cache::builder("ns").clock(clock.clone()).build().unwrap();
        assert!(clock.0.set(cache.clone()).is_ok());
        drop(cache.get_or_call(&key(1), || async { Ok::<_, io::Error>(1u64) }).now_or_never());
    });
}
