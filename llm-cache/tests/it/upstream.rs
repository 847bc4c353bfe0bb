//! Vendor that responds slowly, word by word, and counts its calls.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use llm_cache::{Cache, CacheLayer, Cached};
use llm_core::{
    Call, ChatEvent, ChatRequest, ChatResponse, ChatStream, Choice, EmbedRequest, Embeddings, Error, ErrorKind,
    FinishReason, ManualClock, Message, Part, Provider, Receipt, Reply, Usage, into_provider, into_service,
    layer::{Accounting, ProviderService},
    price::PriceTable,
};
use tokio::sync::{Notify, watch};
use tower::Layer;

/// Vendor that responds to a request with the request's words, each in one event.
#[derive(Clone, Default)]
pub(crate) struct Upstream {
    pub(crate) calls: Arc<AtomicU64>,
    /// Number of calls whose future or stream exists.
    pub(crate) alive: Arc<AtomicUsize>,
    /// Kind of error with which the next calls fail; `None` if they succeed.
    pub(crate) fail: Arc<std::sync::Mutex<Option<ErrorKind>>>,
    /// Number of events after which streams break off; `None` if they do not.
    pub(crate) break_after: Option<usize>,
    pub(crate) signals: Arc<Signals>,
}

/// Signals that tests await instead of sleeping, and a gate that holds calls.
#[derive(Default)]
pub(crate) struct Signals {
    called: Notify,
    holds: watch::Sender<bool>,
}

pub(crate) const HEAD: Duration = Duration::from_millis(50);
pub(crate) const STEP: Duration = Duration::from_millis(10);

struct Alive(Arc<AtomicUsize>);

impl Upstream {
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Waits until this many calls have been made.
    pub(crate) async fn called(&self, calls: u64) {
        loop {
            let called = self.signals.called.notified();
            if self.calls() >= calls {
                return;
            }
            called.await;
        }
    }

    /// Holds all calls from now on if `holds` is true, and otherwise releases them.
    pub(crate) fn hold(&self, holds: bool) {
        self.signals.holds.send_replace(holds);
    }

    /// Counts a call, and waits until it may be answered.
    async fn enter(&self) -> Alive {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.alive.fetch_add(1, Ordering::SeqCst);
        let alive = Alive(Arc::clone(&self.alive));
        self.signals.called.notify_waiters();
        tokio::time::sleep(HEAD).await;
        self.signals.holds.subscribe().wait_for(|holds| !holds).await.expect("the sender is here");
        alive
    }

    fn failure(&self) -> Result<(), Error> {
        let kind = *self.fail.lock().expect("no test panics holding it");
        kind.map_or(Ok(()), |kind| Err(Error::new(kind, "as asked")))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) fn question(call: &Call<ChatRequest>) -> String {
    call.body.messages.iter().flat_map(|message| &message.parts).fold(String::new(), |text, part| match part {
        Part::Text { text: more, .. } => text + more,
        _ => text,
    })
}

fn receipt() -> Receipt {
    let mut accounting = Accounting::default();
    accounting.provider = Some("words".into());
    Receipt::new(accounting)
}

fn usage(text: &str) -> Usage {
    Usage::new(text.len() as u64, text.split_inclusive(' ').count() as u64)
}

#[async_trait::async_trait]
impl Provider for Upstream {
    async fn chat(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        let _alive = self.enter().await;
        self.failure()?;
        let text = question(&call);
        let receipt = receipt();
        receipt.edit(|accounting| accounting.usage = Some(usage(&text)));
        let choice = Choice::new(0, vec![Part::text(text)], FinishReason::Stop);
        Ok(Reply::new(ChatResponse::new("id", call.body.model, vec![choice]), receipt))
    }

    async fn chat_stream(&self, call: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        let alive = self.enter().await;
        self.failure()?;
        let text = question(&call);
        let used = usage(&text);
        let mut events = vec![Ok(ChatEvent::Start { id: "id".into(), model: call.body.model })];
        events.extend(text.split_inclusive(' ').map(|word| Ok(ChatEvent::Text { choice: 0, text: word.into() })));
        events.push(Ok(ChatEvent::Finish { choice: 0, reason: FinishReason::Stop }));
        events.push(Ok(ChatEvent::Usage(used)));
        if let Some(at) = self.break_after {
            events.truncate(at);
            events.push(Err(Error::new(ErrorKind::Incomplete, "broken off")));
        }
        let events = stream::iter(events).then(move |event| {
            let _ = &alive;
            async move {
                tokio::time::sleep(STEP).await;
                event
            }
        });
        let reply = Reply::new(ChatStream::new(events), receipt());
        Ok(reply.on_end(move |end, receipt| {
            if let llm_core::layer::End::Complete(_) = end {
                receipt.edit(|accounting| accounting.usage = Some(used));
            }
        }))
    }

    async fn embed(&self, call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        let _alive = self.enter().await;
        self.failure()?;
        let vectors = (0..call.body.inputs.len()).map(|n| Arc::from([n as f32].as_slice())).collect();
        Ok(Reply::new(Embeddings::new(call.body.model, vectors), receipt()))
    }
}

/// Returns a table of prices that is read once for all tests.
pub(crate) fn prices() -> PriceTable {
    static TABLE: LazyLock<PriceTable> =
        LazyLock::new(|| llm_providers::prices::openai().provider_alias("words", "openai"));
    TABLE.clone()
}

pub(crate) fn cache(clock: &ManualClock) -> Cache {
    Cache::builder("tests").ttl(Duration::from_secs(60)).clock(clock.clone()).build().expect("the settings are right")
}

pub(crate) fn stack(upstream: &Upstream, cache: &Cache) -> Cached<ProviderService<Upstream>> {
    CacheLayer::new(cache.clone()).layer(into_service(Arc::new(upstream.clone())))
}

pub(crate) fn provider(upstream: &Upstream, cache: &Cache) -> Arc<dyn Provider> {
    into_provider(stack(upstream, cache))
}

pub(crate) fn ask(text: &str) -> Call<ChatRequest> {
    Call::new("acme", ChatRequest::new("m").message(Message::user(text)))
}

/// Returns the text of a streamed reply, and the usage that its stream reports.
pub(crate) async fn read(mut stream: ChatStream) -> Result<(String, Option<Usage>), Error> {
    let mut text = String::new();
    while let Some(event) = stream.next().await {
        if let ChatEvent::Text { text: more, .. } = event? {
            text += &more;
        }
    }
    Ok((text, stream.usage()))
}

/// Returns the text of a provider's response, unary or streamed.
pub(crate) async fn say(provider: &dyn Provider, text: &str, streamed: bool) -> Result<String, Error> {
    if streamed {
        return Ok(read(provider.chat_stream(ask(text)).await?.output).await?.0);
    }
    Ok(provider.chat(ask(text)).await?.output.text().into_owned())
}
