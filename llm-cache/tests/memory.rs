//! Tests of the memory that a cache takes, measured at the allocator.

#![expect(clippy::disallowed_methods, reason = "tests spawn callers")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use llm_cache::{Cache, CacheLayer};
use llm_core::{
    Call, ChatRequest, ChatResponse, ChatStream, Choice, EmbedInput, EmbedRequest, Embeddings, Error, ErrorKind,
    FinishReason, Part, Provider, Receipt, Reply, into_provider, into_service,
};
use peak_alloc::PeakAlloc;
use tokio::sync::Semaphore;
use tower::Layer;
use tracing::{Event, Metadata, Subscriber, field, span};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Lock with which the tests of this program run one at a time, because they measure the whole heap.
static ALONE: Mutex<()> = Mutex::new(());

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const BOUND: usize = 64 * MIB;
/// Number of calls in flight at the same time.
const AT_ONCE: usize = 4;

/// Service that answers with a text of the requested length, or with vectors of 1 MiB.
struct Echo;

#[async_trait::async_trait]
impl Provider for Echo {
    async fn chat(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        tokio::task::yield_now().await;
        let length = call.body.sampling.max_output_tokens.unwrap_or_default();
        let text = Part::text("x".repeat(usize::try_from(length).expect("a short answer")));
        let choice = Choice::new(0, vec![text], FinishReason::Stop);
        Ok(Reply::new(ChatResponse::new("id", "m", vec![choice]), Receipt::default()))
    }

    async fn chat_stream(&self, _: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        Err(Error::new(ErrorKind::Unsupported, "not here"))
    }

    async fn embed(&self, call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        tokio::task::yield_now().await;
        let vectors = call.body.inputs.iter().map(|_| vec![1.0; MIB / 4].into()).collect();
        Ok(Reply::new(Embeddings::new("m", vectors), Receipt::default()))
    }
}

/// Returns a unique text of this size.
fn text(size: usize, number: usize) -> String {
    let mut text = "x".repeat(size);
    text.replace_range(..20, &format!("{number:020}"));
    text
}

async fn ask(provider: &dyn Provider, size: usize, number: usize, response: Option<u64>) {
    let text = text(size, number);
    match response {
        Some(tokens) => {
            let request = ChatRequest::new("m").user(text).max_output_tokens(tokens);
            drop(provider.chat(Call::new("acme", request)).await.expect("it answers"));
        }
        None => {
            let request = EmbedRequest {
                inputs: Arc::new(vec![EmbedInput::Text(text.into())]),
                ..EmbedRequest::new("m", [""; 0])
            };
            drop(provider.embed(Call::new("acme", request)).await.expect("it answers"));
        }
    }
}

#[test]
fn max_bytes_bounds_what_is_allocated() {
    let _alone = ALONE.lock().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let sizes = [10 * KIB, 40 * KIB, 160 * KIB, 640 * KIB, 4 * MIB];
    // Many large responses, and many large requests with small responses.
    for (response, calls) in [(None, 90), (Some(10), 60)] {
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        let cache = Cache::builder("memory").max_bytes(BOUND as u64).build().unwrap();
        let provider = into_provider(CacheLayer::new(cache.clone()).layer(into_service(Arc::new(Echo))));
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let asked = Arc::new(AtomicUsize::new(0));
        runtime.block_on(async {
            let tasks: Vec<_> = (0..calls)
                .map(|number| {
                    let (provider, places, asked) = (Arc::clone(&provider), Arc::clone(&places), Arc::clone(&asked));
                    tokio::spawn(async move {
                        let _place = places.acquire().await.unwrap();
                        ask(&*provider, sizes[number % sizes.len()], number, response).await;
                        asked.fetch_add(1, Ordering::Relaxed);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        drop(provider);
        let (live, peak) = (HEAP.current_usage() - before, HEAP.peak_usage() - before);
        let counted = usize::try_from(cache.stats().bytes).unwrap();
        println!("{calls} calls: {} KiB live, {} KiB counted, {} KiB at most", live / KIB, counted / KIB, peak / KIB);
        assert_eq!(asked.load(Ordering::Relaxed), calls);
        assert!(live <= BOUND * 5 / 4, "{live} bytes are live, counted as {counted}");
        // Each call in flight holds a request, its canonical bytes while their buffer grows, and a response.
        let in_flight = AT_ONCE * (4 * MIB + 2 * 4 * MIB + MIB);
        assert!(peak <= BOUND * 5 / 4 + in_flight, "{peak} bytes at most");
        if response.is_none() {
            assert!(counted > BOUND * 3 / 4, "the bound was reached: {counted} bytes");
        }
    }
}

/// Counts warnings of the cache.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("llm_cache") && *metadata.level() == tracing::Level::WARN
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        struct Message(bool);
        impl field::Visit for Message {
            fn record_debug(&mut self, field: &field::Field, value: &dyn std::fmt::Debug) {
                self.0 |= field.name() == "message"
                    && format!("{value:?}").contains("too large to store: raise max_response_bytes");
            }
        }
        let mut message = Message(false);
        event.record(&mut message);
        self.0.fetch_add(usize::from(message.0), Ordering::Relaxed);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn too_large_response_is_logged_once() {
    let _alone = ALONE.lock().unwrap();
    let warnings = Warnings::default();
    tracing::subscriber::set_global_default(warnings.clone()).expect("no other test of this program sets one");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let builder = || Cache::builder("memory");
    for (round, cache) in [builder().max_bytes(32 * 1024), builder().max_response_bytes(32 * 1024)]
        .map(|it| it.build().unwrap())
        .iter()
        .enumerate()
    {
        let provider = into_provider(CacheLayer::new(cache.clone()).layer(into_service(Arc::new(Echo))));
        runtime.block_on(async {
            for number in 0..3 {
                ask(&*provider, 10 * KIB, number, Some(100_000)).await;
            }
            ask(&*provider, 10 * KIB, 3, Some(100)).await;
        });
        assert_eq!((cache.stats().too_large, cache.stats().stored), (3, 1));
        assert_eq!(warnings.0.load(Ordering::Relaxed), round + 1, "once a cache");
    }
}
