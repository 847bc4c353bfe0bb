//! Tests of calls that a layer below the limiter merges into one: the amounts that each caller's limits count, and the
//! agreement with the vendor's bill if callers leave.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use llm_core::{
    Call, EmbedRequest, Embeddings, Error, Reply, Usd,
    layer::{Broadcast, CallDeadline, DeadlineHandle, LlmService, Reader, ResponseFuture, SharedDeadline, call_merged},
};
use llm_providers::{
    Ledger, OpenAi,
    ledger::{Attempt, Charged},
    prices,
};
use llm_ratelimit::{EstimateInput, Estimator, LimitStatuses, Limiter, RateLimitLayer, Refusal, ShadowRefusal};
use llm_testkit::{Fault, Latency, Rule, Vendor};
use proptest::{
    prelude::Rng,
    test_runner::{RngAlgorithm, TestRng},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::support::{AtOnce, limits, noon};

const MODEL: &str = "text-embedding-3-small";
/// Estimated tokens of each call.
const RESERVED: u64 = 1_001;
const MS: Duration = Duration::from_millis(1);
const TENANTS: [&str; 3] = ["acme", "umbrella", "initech"];

/// Layer that merges the calls which arrive within `wait`, at most `most` of them.
#[derive(Clone)]
struct Merging<S> {
    inner: S,
    most: usize,
    wait: Duration,
    open: Arc<Mutex<Option<Arc<Batch>>>>,
}

type Replies = Arc<HashMap<usize, Mutex<Option<Result<Reply<Embeddings>, Error>>>>>;
type Source = stream::Once<BoxFuture<'static, Replies>>;

/// Calls that are gathered until they are sent.
struct Batch {
    calls: Mutex<Vec<Option<Call<EmbedRequest>>>>,
    full: Notify,
    deadline: SharedDeadline,
    replies: Arc<Broadcast<Source>>,
}

/// Caller of a batch. If a caller leaves before its call is sent, the call is not sent.
struct Caller {
    batch: Arc<Batch>,
    at: usize,
    replies: Reader<Source>,
    _deadline: DeadlineHandle,
}

impl Drop for Caller {
    fn drop(&mut self) {
        let left = self.batch.calls.lock().expect("no test panics holding it").get_mut(self.at).and_then(Option::take);
        drop(left);
    }
}

impl<S: LlmService<EmbedRequest>> Merging<S> {
    fn layer(most: usize, wait: Duration) -> impl Layer<S, Service = Self> + Clone {
        tower::layer::layer_fn(move |inner| Self { inner, most, wait, open: Arc::default() })
    }

    fn batch(&self) -> Arc<Batch> {
        Arc::new_cyclic(|batch: &std::sync::Weak<Batch>| {
            let (batch, open, inner, wait) = (batch.clone(), Arc::clone(&self.open), self.inner.clone(), self.wait);
            let replies = async move {
                let batch = batch.upgrade().expect("a caller holds it");
                let _ = timeout(wait, batch.full.notified()).await;
                let closed = open.lock().expect("no test panics holding it").take_if(|open| Arc::ptr_eq(open, &batch));
                drop(closed);
                let calls = std::mem::take(&mut *batch.calls.lock().expect("no test panics holding it"));
                let deadline = batch.deadline.clone();
                drop(batch);
                let (places, calls): (Vec<_>, Vec<_>) =
                    calls.into_iter().enumerate().filter_map(|(at, call)| Some((at, call?))).unzip();
                let replies = call_merged(inner, calls, deadline).await;
                Arc::new(places.into_iter().zip(replies.into_iter().map(|reply| Mutex::new(Some(reply)))).collect())
            };
            let replies = Broadcast::new(stream::once(replies.boxed()));
            Batch { calls: Mutex::default(), full: Notify::new(), deadline: SharedDeadline::new(), replies }
        })
    }

    fn join(&self, call: Call<EmbedRequest>) -> Caller {
        let mut open = self.open.lock().expect("no test panics holding it");
        let (batch, replies) =
            match open.as_ref().and_then(|batch| Some((Arc::clone(batch), batch.replies.subscribe()?))) {
                Some(joined) => joined,
                None => {
                    let batch = self.batch();
                    let replies = batch.replies.subscribe().expect("it is new");
                    *open = Some(Arc::clone(&batch));
                    (batch, replies)
                }
            };
        let deadline = batch.deadline.join(CallDeadline::of(&call));
        let mut calls = batch.calls.lock().expect("no test panics holding it");
        let at = calls.len();
        calls.push(Some(call));
        if calls.len() == self.most {
            batch.full.notify_one();
            *open = None;
        }
        drop(calls);
        Caller { batch, at, replies, _deadline: deadline }
    }
}

impl<S: LlmService<EmbedRequest> + Sync> Service<Call<EmbedRequest>> for Merging<S> {
    type Response = Reply<Embeddings>;
    type Error = Error;
    type Future = ResponseFuture<Embeddings>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<EmbedRequest>) -> Self::Future {
        let this = self.clone();
        ResponseFuture::waiting(async move {
            let mut caller = this.join(call);
            let replies = caller.replies.next().await.expect("it does not panic");
            replies[&caller.at].lock().expect("no test panics holding it").take().expect("each caller takes its own")
        })
    }
}

/// Estimator of a fixed number of input tokens for each call.
struct Fixed(u64);

impl Estimator for Fixed {
    fn estimate(&self, _: &EstimateInput<'_>) -> (u64, u64) {
        (self.0, 0)
    }
}

fn call(tenant: &str, texts: &[String]) -> Call<EmbedRequest> {
    Call::new(tenant, EmbedRequest::new(MODEL, texts.iter().map(String::as_str)))
}

fn vendor(seed: u64) -> Vendor {
    let price = *prices::openai().model(MODEL).and_then(|model| model.at(1)).expect("a model of the table");
    Vendor::builder()
        .seed(seed)
        .latency(Latency::fixed(50 * MS, MS))
        .price(MODEL, price.input.nanos(), price.input.nanos(), 0)
        .build()
}

fn tokens_used(limiter: &Limiter, tenant: &str) -> u64 {
    limiter.usage(tenant).at_once().iter().map(|status| status.used + status.reserved).sum()
}

/// Two calls of 1,001 estimated tokens each are sent as one, and the second caller leaves. The vendor charges for both.
#[tokio::test(start_paused = true)]
async fn merged_call_counts_departed_callers_share() {
    let vendor = vendor(1);
    let limiter = limits(["100k tokens/day"]).clock(noon()).prices(prices::openai()).build().unwrap();
    let ledger = Ledger::new(prices::openai());
    let stack = ServiceBuilder::new()
        .layer(RateLimitLayer::new(limiter.clone()).estimator(Fixed(RESERVED)))
        .layer(Merging::layer(2, MS))
        .layer(ledger.attempts())
        .service(OpenAi::with_transport("no-real-key", vendor.transport()).unwrap());
    let text = ["eight tokens, more or less".to_owned()];
    let (stays, leaves) = (stack.clone().oneshot(call("acme", &text)), stack.oneshot(call("acme", &text)));
    let (stayed, left) = tokio::join!(stays, timeout(20 * MS, leaves));
    let share = stayed.unwrap().receipt.usage().unwrap().input;
    assert!(left.is_err());
    let billed: u64 = vendor.bills().iter().map(|bill| bill.input_tokens).sum();
    assert_eq!((vendor.calls(), billed), (1, 2 * share));
    assert_eq!(tokens_used(&limiter, "acme"), billed, "neither refunded nor kept in full");
    let books = ledger.snapshot();
    assert_eq!((books.total().attempts, books.total().usage_paid.input), (1, billed));
}

/// A limiter below the merging layer counts for the first caller's tenant. Its statuses are shown to that tenant only.
#[tokio::test(start_paused = true)]
async fn limit_statuses_below_merge_stay_with_tenant() {
    for (others, shadow, is_shown) in
        [(["acme", "acme"], false, true), (["acme", "umbrella"], false, false), (["acme", "umbrella"], true, false)]
    {
        let vendor = vendor(1);
        let builder = limits(["2/day"]).clock(noon()).prices(prices::openai());
        let limiter = if shadow { builder.shadow() } else { builder }.build().unwrap();
        let stack = ServiceBuilder::new()
            .layer(Merging::layer(2, MS))
            .layer(RateLimitLayer::new(limiter.clone()))
            .service(OpenAi::with_transport("no-real-key", vendor.transport()).unwrap());
        let ask = |tenant| stack.clone().oneshot(call(tenant, &["a text".to_owned()]));
        let both = async || <[_; 2]>::from(tokio::join!(ask(others[0]), ask(others[1])));
        for reply in both().await {
            let reply = reply.unwrap();
            assert_eq!(LimitStatuses::of(&reply).is_some_and(|statuses| statuses.iter().count() == 1), is_shown);
            assert_eq!(reply.extensions.header_fields().is_empty(), !is_shown);
        }
        drop(both().await);
        for reply in both().await {
            let shown = match reply {
                Ok(reply) => reply.extensions.get::<ShadowRefusal>().unwrap().0.limit_statuses().clone(),
                Err(error) => {
                    assert_eq!(error.header_fields().is_empty(), !is_shown);
                    Refusal::of(&error).unwrap().limit_statuses().clone()
                }
            };
            assert_eq!(shown.iter().count(), usize::from(is_shown), "{others:?}, shadow: {shadow}");
        }
    }
}

/// Like above, but all callers leave. A call that was sent keeps its whole reservation, and a call that was not sent
/// costs nothing.
#[tokio::test(start_paused = true)]
async fn merged_call_that_all_left_keeps_reservations() {
    for (stay, kept) in [(20 * MS, RESERVED), (2 * MS, 0)] {
        let vendor = vendor(1);
        let limiter = limits(["100k tokens/day"]).clock(noon()).prices(prices::openai()).build().unwrap();
        let stack = ServiceBuilder::new()
            .layer(RateLimitLayer::new(limiter.clone()).estimator(Fixed(RESERVED)))
            .layer(Merging::layer(3, 5 * MS))
            .service(OpenAi::with_transport("no-real-key", vendor.transport()).unwrap());
        let leaves = |tenant| timeout(stay, stack.clone().oneshot(call(tenant, &["a text".to_owned()])));
        let left = tokio::join!(leaves("acme"), leaves("umbrella"));
        assert!(left.0.is_err() && left.1.is_err());
        assert_eq!(TENANTS.map(|tenant| tokens_used(&limiter, tenant)), [kept, kept, 0]);
    }
}

/// Attempts as reported by the ledger.
type Reported = Arc<Mutex<Vec<Attempt>>>;

fn ledger() -> (Ledger, Reported) {
    let reported = Reported::default();
    let seen = Arc::clone(&reported);
    (
        Ledger::new(prices::openai())
            .on_attempt(move |attempt| seen.lock().expect("no test panics holding it").push(attempt.clone())),
        reported,
    )
}

/// Compares the ledger with the vendor's bills, attempt by attempt, and each tenant's limits with the ledger. The
/// limits count the paid amounts, and the whole reservation of each call whose usage never arrived.
fn compare(vendor: &Vendor, ledger: &Ledger, reported: &Reported, limiter: &Limiter) {
    let nanos = |nanos: u64| Usd::from_nanos(i64::try_from(nanos).expect("a small bill"));
    let mut paid: HashMap<String, Usd> = HashMap::new();
    let mut counted: HashMap<String, u64> = HashMap::new();
    let mut unconfirmed = Usd::ZERO;
    for attempt in reported.lock().expect("no test panics holding it").iter() {
        let counted = counted.entry(attempt.tenant.to_string()).or_default();
        match &attempt.charged {
            Charged::Paid(cost) => {
                let id = attempt.request_id.clone().expect("usage comes with an id");
                *paid.entry(id.to_string()).or_default() += *cost;
                *counted += attempt.usage.unwrap_or_default().input;
            }
            Charged::Unconfirmed(bound) => {
                unconfirmed += bound.expect("the model has a price");
                *counted += RESERVED;
            }
            Charged::Nothing => {}
            other => panic!("all of this has a price: {other:?}"),
        }
    }
    let mut untold = Usd::ZERO;
    for bill in vendor.bills() {
        match paid.remove(&bill.request_id) {
            Some(shares) => assert_eq!(shares, nanos(bill.nano_usd), "{bill:?}"),
            None => untold += nanos(bill.nano_usd),
        }
    }
    assert!(paid.is_empty() && unconfirmed >= untold, "{untold} were billed and {unconfirmed} expected");
    let books = ledger.snapshot();
    assert!(books.balance().is_balanced(), "{books}");
    assert_eq!((books.total().open, books.total().unconfirmed.amount), (Usd::ZERO, unconfirmed), "{books}");
    for tenant in TENANTS {
        let expected = counted.remove(tenant).unwrap_or_default();
        assert_eq!(tokens_used(limiter, tenant), expected, "{tenant}");
    }
}

/// Random calls of several tenants are merged as they arrive. Some of them fail, and 40 % of the callers leave.
#[tokio::test(start_paused = true)]
async fn merged_calls_books_agree_with_the_bill() {
    let mut merged = 0;
    for seed in 0..6u8 {
        let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        let vendor = vendor(seed.into());
        vendor.script(Rule::new(Fault::insufficient_quota()).prompt_contains("refused"));
        let limiter = limits(["10M tokens/day"]).clock(noon()).prices(prices::openai()).build().unwrap();
        let (ledger, reported) = ledger();
        let stack = ServiceBuilder::new()
            .layer(ledger.requests())
            .layer(RateLimitLayer::new(limiter.clone()).estimator(Fixed(RESERVED)))
            .layer(Merging::layer(7, 10 * MS))
            .layer(ledger.attempts())
            .service(OpenAi::with_transport("no-real-key", vendor.transport()).unwrap());
        let calls = (0..120).map(|_| {
            let word = if random.next_u32().is_multiple_of(20) { "refused" } else { "text" };
            let texts: Vec<_> = (0..=random.next_u32() % 3).map(|_| format!("{word} {}", random.next_u64())).collect();
            let call = call(TENANTS[random.next_u32() as usize % 3], &texts);
            let leaves = random.next_u32() % 10 < 4;
            let (start, stay) = (MS * (random.next_u32() % 200), MS * (random.next_u32() % 80));
            let stack = stack.clone();
            async move {
                sleep(start).await;
                let _ = timeout(if leaves { stay } else { 60_000 * MS }, stack.oneshot(call)).await;
            }
        });
        futures_util::future::join_all(calls.collect::<Vec<_>>()).await;
        compare(&vendor, &ledger, &reported, &limiter);
        let books = ledger.snapshot();
        assert!(books.total().attempts < books.total().calls, "{books}");
        merged += reported.lock().unwrap().iter().filter(|attempt| attempt.members > 1).count();
    }
    assert!(merged > 300, "{merged} shares of merged calls");
}

/// Batches of five calls are sent over HTTP. Then 40 % of the callers leave, including all of the first two batches.
#[tokio::test]
async fn merged_calls_books_agree_over_http() {
    let vendor = vendor(7);
    let server = vendor.serve().await;
    let limiter = limits(["10M tokens/day"]).clock(noon()).prices(prices::openai()).build().unwrap();
    let (ledger, reported) = ledger();
    let stack = ServiceBuilder::new()
        .layer(ledger.requests())
        .layer(RateLimitLayer::new(limiter.clone()).estimator(Fixed(RESERVED)))
        .layer(Merging::layer(5, Duration::from_secs(60)))
        .layer(ledger.attempts())
        .service(OpenAi::new("no-real-key").unwrap().base_url(&server.base_url()).unwrap());
    let callers: Vec<_> = (0..50)
        .map(|at| {
            let call = call(TENANTS[at % 3], &[format!("text number {at}")]);
            tokio::spawn(stack.clone().oneshot(call))
        })
        .collect();
    vendor.wait_until(|vendor| vendor.calls() == 10).await;
    for (at, caller) in callers.iter().enumerate() {
        if at < 10 || at % 4 == 0 {
            caller.abort();
        }
    }
    let answered = futures_util::future::join_all(callers).await.into_iter().flatten().flatten().count();
    vendor.wait_until(|vendor| vendor.in_flight() == 0).await;
    assert!(answered >= 30, "{answered} stayed");
    compare(&vendor, &ledger, &reported, &limiter);
    assert_eq!(ledger.snapshot().total().attempts, 10);
}
