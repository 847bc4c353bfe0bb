//! Callers in several tokio runtimes.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::{io, sync::Arc, sync::mpsc, time::Duration};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use llm_cache::{Cache, CacheLayer};
use llm_core::{
    Call, Charge, ChatEvent, ChatRequest, ChatResponse, ChatStream, EmbedRequest, Embeddings, Error, Provider, Receipt,
    Reply, into_provider, into_service,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Sleep, sleep},
};
use tower::Layer;

use crate::upstream::ask;

const HOUR: Duration = Duration::from_secs(3600);

/// Service that answers after an hour by the timers of the runtime in which it is first polled. It signals when it is
/// polled.
#[derive(Clone)]
struct Slow(mpsc::Sender<()>);

impl Slow {
    fn asked(&self) -> Sleep {
        let hour = sleep(HOUR);
        let _ = self.0.send(());
        hour
    }
}

#[async_trait::async_trait]
impl Provider for Slow {
    async fn chat(&self, _: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        self.asked().await;
        Ok(Reply::new(ChatResponse::new("id", "m", Vec::new()), Receipt::default()))
    }

    async fn chat_stream(&self, _: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        let hour = self.asked();
        let head = stream::iter([Ok(ChatEvent::Text { choice: 0, text: "a".into() })]);
        let rest = hour.map(|()| Ok(ChatEvent::Text { choice: 0, text: "b".into() }));
        Ok(Reply::new(ChatStream::new(head.chain(rest.into_stream())), Receipt::default()))
    }

    async fn embed(&self, call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        self.asked().await;
        let vectors = call.body.inputs.iter().map(|_| Arc::from([1.0].as_slice())).collect();
        Ok(Reply::new(Embeddings::new("m", vectors), Receipt::default()))
    }
}

/// Sends a request in one of several ways, and waits for the complete response.
fn whole(way: usize, provider: Arc<dyn Provider>, cache: Cache, slow: Slow) -> BoxFuture<'static, Result<(), String>> {
    let texts = |texts: &[&str]| Call::new("acme", EmbedRequest::new("m", texts.iter().copied()));
    let (one, two) = (texts(&["one"]), texts(&["one", "two"]));
    async move {
        match way {
            0 => provider.chat(ask("a")).await.map(drop).map_err(|error| error.to_string()),
            1 => match provider.chat_stream(ask("a")).await {
                Ok(reply) => reply.output.complete().await.map(drop).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            },
            2 => provider.embed(one).await.map(drop).map_err(|error| error.to_string()),
            3 => provider.embed(two).await.map(drop).map_err(|error| error.to_string()),
            _ => {
                let key = cache.key("acme", "op", "q").unwrap();
                let call = move || async move {
                    slow.asked().await;
                    Ok::<_, io::Error>(1_u8)
                };
                cache.get_or_call(&key, call).await.map(drop).map_err(|error| error.to_string())
            }
        }
    }
    .boxed()
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
}

#[test]
fn waiter_fails_when_leaders_runtime_ends() {
    for way in 0..5 {
        let (asked, is_asked) = mpsc::channel();
        let (slow, cache) = (Slow(asked), Cache::builder("tests").build().unwrap());
        let provider = into_provider(CacheLayer::new(cache.clone()).layer(into_service(Arc::new(slow.clone()))));
        let ask = || whole(way, Arc::clone(&provider), cache.clone(), slow.clone());
        let (leaders, waiters) = (runtime(), runtime());
        leaders.spawn(ask());
        is_asked.recv().expect("the leader asks");
        let mut waiter = ask();
        waiters.block_on(async { assert!((&mut waiter).now_or_never().is_none(), "way {way}: it waits") });
        drop(leaders);
        let error = waiters.block_on(waiter).expect_err("its timers are gone");
        assert!(error.contains("the runtime that it began in has ended"), "way {way}: {error}");
        assert!(is_asked.try_recv().is_err(), "way {way}: it joined");
        assert_eq!(cache.stats().running, 0, "way {way}");
    }
}

#[test]
fn deadline_outside_runtime_returns_error() {
    let texts = |texts: &[&str]| EmbedRequest::new("m", texts.iter().copied());
    let deadline = std::time::Instant::now() + HOUR;
    let (asked, is_asked) = mpsc::channel();
    let cache = Cache::builder("tests").build().unwrap();
    let provider = into_provider(CacheLayer::new(cache.clone()).layer(into_service(Arc::new(Slow(asked)))));
    let embed = |inputs: &[&str]| {
        let call = Call::new("acme", texts(inputs)).with_deadline(deadline);
        provider.embed(call).now_or_never().expect("it waits for nothing").map(drop)
    };
    let chat = || ask("a").with_deadline(deadline);
    for result in [
        provider.chat(chat()).now_or_never().expect("it waits for nothing").map(drop),
        provider.chat_stream(chat()).now_or_never().expect("it waits for nothing").map(drop),
        embed(&["one"]),
        embed(&["one", "two"]),
    ] {
        let error = result.expect_err("there is no timer");
        assert!(error.message().contains("tokio runtime") && error.charge() == Charge::None, "{error}");
    }
    assert!(is_asked.try_recv().is_err() && cache.stats().running == 0, "nothing was sent");
}

#[test]
fn close_outside_runtime_waits_for_background() {
    let (asked, is_asked) = mpsc::channel();
    let (slow, runtime) = (Slow(asked), runtime());
    let builder = || Cache::builder("tests").background(llm_cache::Background::new(1).complete_on_disconnect());
    let cache = runtime.block_on(async { builder().build().unwrap() });
    let mut closing = Box::pin(cache.close());
    assert_eq!((&mut closing).now_or_never(), Some(Ok(())), "nothing runs");
    let provider = into_provider(CacheLayer::new(cache.clone()).layer(into_service(Arc::new(slow))));
    runtime.block_on(async { assert!(provider.chat(ask("a")).now_or_never().is_none(), "it waits, and leaves") });
    is_asked.recv().expect("the call was made");
    let mut closing = Box::pin(cache.close());
    assert_eq!((&mut closing).now_or_never(), None, "the call goes on");
    drop(runtime);
    assert_eq!((&mut closing).now_or_never(), Some(Ok(())), "the call has ended with its runtime");
    assert_eq!(cache.close().now_or_never(), Some(Ok(())));
}
