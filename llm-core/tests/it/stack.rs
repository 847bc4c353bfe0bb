//! Tests of stacks of layers behind one `Provider`, including tower's layers between this crate's.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use llm_core::{
    Call, Charge, ChatRequest, ChatResponse, ChatStream, Choice, EmbedRequest, Embeddings, Error, ErrorKind,
    FinishReason, Operation, Output, Part, Provider, Receipt, Reply, Task, Tasks, Usage, into_provider, into_service,
    layer::{Accounting, End, Fingerprinter, LlmService, ResponseFuture, Shared, StreamCut, Streamed, oneshot},
};
use serde::{Deserialize, Serialize};
use tower::{Service, ServiceBuilder};

/// Vendor that replies with the request that it received, fails, or never replies.
#[derive(Clone, Copy)]
enum Vendor {
    Echoes,
    OverBudget,
    Hangs,
}

#[async_trait]
impl Provider for Vendor {
    async fn chat(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        match self {
            Self::Echoes => {}
            Self::OverBudget => return Err(Error::new(ErrorKind::OverBudget, "no money").with_status(402)),
            Self::Hangs => std::future::pending().await,
        }
        let said = call.body.messages.iter().flat_map(|message| message.parts.clone()).collect();
        let response = ChatResponse::new("1", call.body.model, vec![Choice::new(0, said, FinishReason::Stop)]);
        let receipt = Receipt::new(Accounting::default());
        receipt.edit(|accounting| accounting.usage = Some(Usage::new(7, 3)));
        Ok(Reply::new(response, receipt))
    }

    async fn chat_stream(&self, call: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        self.chat(call).await?.try_map(|response| Ok(ChatStream::replay(Arc::new(response), None)))
    }

    async fn embed(&self, call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        let vectors = call.body.inputs.iter().map(|_| Arc::from([1.0])).collect();
        Ok(Reply::new(Embeddings::new(call.body.model, vectors), Receipt::default()))
    }
}

/// Layer like this family's: generic over the operation, and always ready. It counts calls, and responses when they
/// have ended.
#[derive(Clone)]
struct Counts<S> {
    inner: S,
    calls: Arc<AtomicU64>,
    ended: Arc<AtomicU64>,
}

impl<T: Operation, S: LlmService<T>> Service<Call<T>> for Counts<S> {
    type Response = Reply<T::Output>;
    type Error = Error;
    type Future = ResponseFuture<T::Output>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<T>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (inner, ended) = (self.inner.clone(), Arc::clone(&self.ended));
        ResponseFuture::waiting(async move {
            let count = move |end: End<'_, _>, _: &Receipt| {
                ended.fetch_add(u64::from(matches!(end, End::Complete(_))), Ordering::Relaxed);
            };
            Ok(oneshot(inner, call).await?.on_end(count))
        })
    }
}

type Counter = Arc<AtomicU64>;

fn counts<S>(calls: &Counter, ended: &Counter) -> impl Fn(S) -> Counts<S> + Clone + use<S> {
    let (calls, ended) = (Arc::clone(calls), Arc::clone(ended));
    move |inner| Counts { inner, calls: Arc::clone(&calls), ended: Arc::clone(&ended) }
}

fn hello() -> Call<ChatRequest> {
    Call::new("acme", ChatRequest::new("m").user("hello"))
}

/// Builds a stack with this family's layers above, between and below tower's.
macro_rules! stack {
    ($vendor:expr, $calls:expr, $ended:expr) => {
        ServiceBuilder::new()
            .layer_fn(counts($calls, $ended))
            .load_shed()
            .concurrency_limit(1)
            .layer_fn(counts($calls, $ended))
            .timeout(Duration::from_secs(30))
            .layer_fn(Tasks::new)
            .layer_fn(counts($calls, $ended))
            .service(into_service(Arc::new($vendor)))
    };
}

#[tokio::test(start_paused = true)]
async fn into_provider_with_tower_layers_responds() {
    let (calls, ended) = (Counter::default(), Counter::default());
    let provider: Arc<dyn Provider> = into_provider(stack!(Vendor::Echoes, &calls, &ended));
    assert_eq!(provider.chat(hello()).await.unwrap().output.text(), "hello");
    let stream = provider.chat_stream(hello()).await.unwrap().output;
    assert_eq!(ended.load(Ordering::Relaxed), 3, "the stream has not ended yet");
    assert_eq!(stream.complete().await.unwrap().text(), "hello");
    let embeddings = provider.embed(Call::new("acme", EmbedRequest::new("m", ["a", "b"]))).await.unwrap().output;
    assert_eq!(embeddings.vectors.len(), 2);
    assert_eq!((calls.load(Ordering::Relaxed), ended.load(Ordering::Relaxed)), (9, 9));
}

#[tokio::test(start_paused = true)]
async fn into_service_under_further_layers_responds() {
    let (calls, ended) = (Counter::default(), Counter::default());
    let below: Arc<dyn Provider> = Arc::new(Vendor::Echoes);
    let above = into_provider(ServiceBuilder::new().layer_fn(counts(&calls, &ended)).service(into_service(below)));
    assert_eq!(above.chat(hello()).await.unwrap().output.text(), "hello");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn error_survives_boxes_of_tower() {
    let provider = into_provider(stack!(Vendor::OverBudget, &Counter::default(), &Counter::default()));
    for error in [provider.chat(hello()).await.unwrap_err(), provider.chat_stream(hello()).await.unwrap_err()] {
        assert_eq!((error.kind(), error.status(), error.charge()), (ErrorKind::OverBudget, Some(402), Charge::None));
    }
}

#[cfg(feature = "tower")]
#[tokio::test(start_paused = true)]
async fn tower_timeout_may_have_cost() {
    let provider = into_provider(stack!(Vendor::Hangs, &Counter::default(), &Counter::default()));
    let error = provider.chat(hello()).await.unwrap_err();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Timeout, Charge::Unknown));
    assert!(std::error::Error::source(&error).is_some_and(|source| source.is::<tower::timeout::error::Elapsed>()));
}

#[cfg(feature = "tower")]
#[tokio::test(start_paused = true)]
async fn tower_load_shed_cost_nothing() {
    let provider = into_provider(stack!(Vendor::Hangs, &Counter::default(), &Counter::default()));
    let busy = tokio::spawn({
        let provider = Arc::clone(&provider);
        async move { provider.chat(hello()).await }
    });
    tokio::task::yield_now().await;
    let error = provider.chat(hello()).await.unwrap_err();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Overloaded, Charge::None));
    assert_eq!(busy.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
}

#[cfg(not(feature = "tower"))]
#[tokio::test(start_paused = true)]
async fn tower_errors_without_feature_have_no_kind() {
    let provider = into_provider(stack!(Vendor::Hangs, &Counter::default(), &Counter::default()));
    let error = provider.chat(hello()).await.unwrap_err();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Other, Charge::Unknown));
}

/// Application operation.
#[derive(Clone)]
struct ScorePhoto {
    photo: bytes::Bytes,
    says: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Score {
    stars: u8,
}

impl Operation for ScorePhoto {
    type Output = Score;

    const NAME: &'static str = "score_photo";

    fn model(&self) -> &str {
        "m"
    }

    fn fingerprint(&self, h: &mut Fingerprinter) {
        h.text(self.says).bytes(&self.photo);
    }
}

impl Task for ScorePhoto {
    fn to_request(&self) -> ChatRequest {
        ChatRequest::new(self.model()).user(self.says)
    }

    fn parse_response(&self, response: ChatResponse) -> Result<Score, Error> {
        let stars = response.text().parse().map_err(|_| Error::new(ErrorKind::Malformed, "not a number of stars"))?;
        Ok(Score { stars })
    }
}

fn photo(says: &'static str) -> Call<ScorePhoto> {
    Call::new("acme", ScorePhoto { photo: bytes::Bytes::from_static(b"pixels"), says })
}

#[tokio::test(start_paused = true)]
async fn task_passes_all_layers() {
    let (calls, ended) = (Counter::default(), Counter::default());
    let reply = oneshot(stack!(Vendor::Echoes, &calls, &ended), photo("7")).await.unwrap();
    assert_eq!((reply.output, reply.receipt.usage()), (Score { stars: 7 }, Some(Usage::new(7, 3))));
    assert_eq!((calls.load(Ordering::Relaxed), ended.load(Ordering::Relaxed)), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn task_parse_failure_is_charged() {
    let tasks = Tasks::new(into_service(Arc::new(Vendor::Echoes)));
    let error = oneshot(tasks, photo("many")).await.unwrap_err();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Malformed, Charge::Known(Usage::new(7, 3))));
}

#[tokio::test(start_paused = true)]
async fn tasks_pass_other_operations_through() {
    let tasks = Tasks::new(into_service(Arc::new(Vendor::Echoes)));
    assert_eq!(oneshot(tasks.clone(), hello()).await.unwrap().output.text(), "hello");
    let stream = oneshot(tasks.clone(), hello().map(Streamed)).await.unwrap().output;
    assert_eq!(stream.complete().await.unwrap().text(), "hello");
    let embed = Call::new("acme", EmbedRequest::new("m", ["a"]));
    assert_eq!(oneshot(tasks, embed).await.unwrap().output.vectors.len(), 1);
}

/// Response type of an application that is neither serializable nor a stream of this crate: pages, whose text is kept.
struct Pages(Vec<Arc<str>>);

impl Output for Pages {
    type Complete = String;

    fn on_end(self, f: impl FnOnce(End<'_, String>) + Send + 'static) -> Self {
        f(End::Complete(&self.0.concat()));
        self
    }

    fn replay(done: Arc<String>, _: Option<Usage>) -> Self {
        Self(vec![done.as_str().into()])
    }

    fn share(self) -> Shared<String> {
        self.0.concat().share()
    }

    async fn join(shared: Shared<String>) -> Result<Self, Error> {
        Ok(Self(vec![String::join(shared).await?.into()]))
    }

    fn watch<D>(self, _: impl FnMut(u64) -> D + Send + 'static) -> Self
    where
        D: Future<Output = ControlFlow<StreamCut>> + Send + 'static,
    {
        self
    }
}

#[derive(Clone)]
struct Draft;

impl Operation for Draft {
    type Output = Pages;

    const NAME: &'static str = "draft";

    fn model(&self) -> &str {
        "m"
    }

    fn fingerprint(&self, h: &mut Fingerprinter) {
        h.text("draft v1");
    }
}

impl Task for Draft {
    fn to_request(&self) -> ChatRequest {
        ChatRequest::new("m").user("one ").user("two")
    }

    fn parse_response(&self, response: ChatResponse) -> Result<Pages, Error> {
        let texts = response.choices[0].parts.iter().filter_map(|part| match part {
            Part::Text { text, .. } => Some(text.clone()),
            _ => None,
        });
        Ok(Pages(texts.collect()))
    }
}

#[tokio::test(start_paused = true)]
async fn output_of_own_type_is_shared() {
    let (calls, ended) = (Counter::default(), Counter::default());
    let reply = oneshot(stack!(Vendor::Echoes, &calls, &ended), Call::new("acme", Draft)).await.unwrap();
    assert_eq!((reply.output.0.len(), ended.load(Ordering::Relaxed)), (2, 3));
    assert_eq!(*Pages::join(reply.output.share()).await.unwrap().0, ["one two".into()]);
}
