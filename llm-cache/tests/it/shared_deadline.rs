//! Tests of the deadline of a shared call, as the layers below the cache see it: the latest of its waiters' deadlines.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use llm_cache::{Background, Cache, CacheBuilder, CacheLayer};
use llm_core::{
    Call, ChatRequest, ChatResponse, EmbedRequest, Error, ErrorKind, Provider, Reply, into_provider, into_service,
    layer::{CallDeadline, LlmService, Members, SharedDeadline, call_merged, oneshot},
};
use llm_providers::{
    OpenAi,
    scripted::{Rule, Scripted},
};
use llm_testkit::{Latency, Vendor};
use tokio::time::{Instant, sleep};
use tower::ServiceBuilder;

use crate::upstream::cache;

const SECOND: Duration = Duration::from_secs(1);

fn after(seconds: u32) -> Option<std::time::Instant> {
    Some((Instant::now() + seconds * SECOND).into_std())
}

fn call(seconds: Option<u32>) -> Call<ChatRequest> {
    let mut call = Call::new("acme", ChatRequest::new("gpt-4o-mini").user("hello"));
    call.deadline = seconds.and_then(after);
    call
}

/// Returns a vendor that answers after six seconds, and a stack of a cache and a client.
fn stack(cache: Cache) -> (Vendor, Arc<dyn Provider>) {
    let vendor = Vendor::builder().response_tokens(4..=4).latency(Latency::fixed(3 * SECOND, SECOND)).build();
    let client = OpenAi::with_transport("no-real-key", vendor.transport()).expect("the key is a header value");
    (vendor, into_provider(ServiceBuilder::new().layer(CacheLayer::new(cache)).service(client)))
}

fn new() -> Cache {
    Cache::builder("t").build().expect("the settings are right")
}

/// Sends a call at the second `at`. Returns the second since `start` at which the call ended, and its error.
async fn ends(provider: &dyn Provider, start: Instant, at: u32, own: Option<u32>) -> (u64, Option<ErrorKind>) {
    sleep(at * SECOND).await;
    let reply: Result<Reply<ChatResponse>, Error> = provider.chat(call(own)).await;
    (start.elapsed().as_secs(), reply.err().map(|error| error.kind()))
}

#[tokio::test(start_paused = true)]
async fn shared_call_outlives_leaders_deadline() {
    for waiter in [Some(60), None] {
        let (vendor, provider) = stack(new());
        let start = Instant::now();
        let (leader, waiter) = tokio::join!(ends(&*provider, start, 0, Some(2)), ends(&*provider, start, 1, waiter));
        assert_eq!((leader, waiter), ((2, Some(ErrorKind::DeadlineExceeded)), (6, None)));
        assert_eq!((vendor.calls(), vendor.bills()[0].cancelled), (1, false));
    }
}

#[tokio::test(start_paused = true)]
async fn shared_call_ends_at_last_deadline() {
    let (vendor, provider) = stack(new());
    let start = Instant::now();
    let (leader, waiter) = tokio::join!(ends(&*provider, start, 0, Some(2)), ends(&*provider, start, 1, Some(3)));
    let late = Some(ErrorKind::DeadlineExceeded);
    assert_eq!((leader, waiter), ((2, late), (4, late)));
    assert_eq!((vendor.calls(), vendor.in_flight(), vendor.bills()[0].cancelled), (1, 0, true));
}

/// Returns a service that never responds, and the list of the deadlines of the calls that it received.
fn capture() -> (Arc<Mutex<Vec<CallDeadline>>>, impl LlmService<ChatRequest>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let inner = into_service(Arc::new(Scripted::new().rule(Rule::hang())));
    let service = tower::service_fn(move |call: Call<ChatRequest>| {
        kept.lock().expect("no test panics holding it").push(CallDeadline::of(&call));
        oneshot(inner.clone(), call)
    });
    (seen, service)
}

async fn deadlines_below(builder: CacheBuilder) -> Vec<Option<std::time::Instant>> {
    let cache = builder.build().expect("the settings are right");
    let (seen, inner) = capture();
    let service = ServiceBuilder::new().layer(CacheLayer::new(cache)).service(inner);
    let mut latest = Vec::new();
    let mut look = || {
        let deadline = seen.lock().expect("no test panics holding it")[0].clone();
        latest.push(deadline.latest());
    };
    let mut leader = tokio_test::task::spawn(oneshot(service.clone(), call(Some(2))));
    let mut waiter = tokio_test::task::spawn(oneshot(service.clone(), call(Some(9))));
    let mut unbounded = tokio_test::task::spawn(oneshot(service, call(None)));
    assert!(leader.poll().is_pending());
    look();
    assert!(waiter.poll().is_pending());
    look();
    assert!(unbounded.poll().is_pending());
    look();
    drop(unbounded);
    look();
    drop(waiter);
    look();
    drop(leader);
    look();
    latest
}

#[tokio::test(start_paused = true)]
async fn shared_deadline_follows_its_waiters() {
    let (soon, later) = (after(2), after(9));
    assert_eq!(deadlines_below(Cache::builder("t")).await, [soon, later, None, later, soon, None]);
}

#[tokio::test(start_paused = true)]
async fn complete_on_disconnect_sends_call_without_deadline() {
    let background = Background::new(1).complete_on_disconnect();
    let builder = Cache::builder("t").background(background);
    assert_eq!(deadlines_below(builder).await, [None; 6]);
}

/// If the cache has a part of a merged call's items, the call that is sent is not the merged call of its members.
#[tokio::test]
async fn divided_request_is_sent_without_members() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let inner = into_service(Arc::new(Scripted::new()));
    let service = tower::service_fn(move |call: Call<EmbedRequest>| {
        kept.lock().unwrap().push((call.body.inputs.len(), call.extensions.get::<Members>().is_some()));
        oneshot(inner.clone(), call)
    });
    let service =
        ServiceBuilder::new().layer(CacheLayer::new(cache(&llm_core::ManualClock::default()))).service(service);
    let call = |text: &str| Call::new("acme", EmbedRequest::new("m", [text]));
    oneshot(service.clone(), call("known")).await.unwrap();
    let calls = vec![call("known"), call("one"), call("another")];
    let replies = call_merged(service, calls, SharedDeadline::new()).await;
    assert!(replies.iter().all(Result::is_ok));
    assert_eq!(*seen.lock().unwrap(), [(1, false), (2, false)]);
}
