//! Tests of calls that several callers share, below the layer that shares them: waiting for room follows the deadline
//! as it changes.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use llm_cache::{Cache, CacheLayer};
use llm_core::{
    Call, ChatRequest, Error, ErrorKind, Reply, into_service,
    layer::{CallDeadline, LlmService, SharedDeadline, oneshot},
};
use llm_providers::scripted::Scripted;
use llm_ratelimit::{Limiter, RateLimitLayer, Reason, Refusal, Waiting};
use tokio::time::{Instant, sleep};
use tower::ServiceBuilder;

use crate::support::{HOUR, Paused, ask, limits};

const SECOND: Duration = Duration::from_secs(1);

fn limiter(limit: &str) -> Limiter {
    limits([limit]).clock(Paused::new()).waiting(Waiting::at_most(HOUR)).build().expect("the limit is right")
}

fn layer(limiter: &Limiter) -> impl LlmService<ChatRequest> + Sync {
    ServiceBuilder::new().layer(RateLimitLayer::new(limiter.clone())).service(into_service(Arc::new(Scripted::new())))
}

fn call() -> Call<ChatRequest> {
    Call::new("acme", ChatRequest::new("m").user("hello"))
}

fn after(seconds: u32) -> CallDeadline {
    CallDeadline::from(Some((Instant::now() + seconds * SECOND).into_std()))
}

/// Returns the number of seconds until the call ends, and its outcome.
async fn ends<O>(call: impl Future<Output = Result<Reply<O>, Error>>) -> (u64, Result<(), Error>) {
    let start = Instant::now();
    let outcome = call.await.map(drop);
    (start.elapsed().as_secs(), outcome)
}

/// A call waits for a slot that becomes free after ten seconds. Its first caller has a deadline of three.
#[tokio::test(start_paused = true)]
async fn shared_deadline_bounds_waiting_while_it_moves() {
    // Each case has the deadline of the second caller, the second at which it leaves, and the second at which the call
    // ends.
    let never = 3_600;
    let table = [(None, never, 3), (Some(Some(60)), never, 10), (Some(Some(6)), never, 6), (Some(None), 5, 5)];
    for (second, leaves, end) in table {
        let limiter = limiter("1 concurrent");
        let slot = limiter.try_reserve(&ask("acme")).unwrap();
        let deadline = SharedDeadline::new();
        let _first = deadline.join(after(3));
        let joining = second.map(|second: Option<u32>| second.map_or_else(CallDeadline::default, after));
        let mut call = call();
        call.extensions.insert(deadline.clone());
        let callers = async {
            sleep(SECOND).await;
            let second = joining.map(|second| deadline.join(second));
            assert_eq!(limiter.stats().waiting, 1);
            sleep((leaves - 1) * SECOND).await;
            drop(second);
            std::future::pending::<()>().await;
        };
        let frees = async {
            sleep(10 * SECOND).await;
            drop(slot);
            std::future::pending::<()>().await;
        };
        let (seconds, outcome) = tokio::select! {
            ended = ends(oneshot(layer(&limiter), call)) => ended,
            () = callers => unreachable!("it is pending"),
            () = frees => unreachable!("it is pending"),
        };
        let refused = outcome.err().map(|error| Refusal::of(&error).expect("the limiter refused it").reason());
        assert_eq!((seconds, refused), (end, (end < 10).then_some(Reason::TooLate)), "{second:?}");
        assert_eq!(limiter.stats().waiting, 0, "it left the queue");
    }
}

#[tokio::test(start_paused = true)]
async fn cached_call_without_room_is_refused() {
    let limiter = limiter("60/hour burst 1");
    limiter.try_reserve(&ask("acme")).unwrap().settle(crate::support::used(0, 0));
    let cache = Cache::builder("t").build().unwrap();
    let service = ServiceBuilder::new().layer(CacheLayer::new(cache)).service(layer(&limiter));
    let deadline = (Instant::now() + 3 * SECOND).into_std();
    let (seconds, outcome) = ends(oneshot(service, call().with_deadline(deadline))).await;
    assert_eq!((seconds, outcome.map_err(|error| error.kind())), (0, Err(ErrorKind::RateLimited)));
}

#[tokio::test(start_paused = true)]
async fn cache_waiter_extends_queued_calls_deadline() {
    let limiter = limiter("1 concurrent");
    let slot = limiter.try_reserve(&ask("acme")).unwrap();
    let cache = Cache::builder("t").build().unwrap();
    let service = ServiceBuilder::new().layer(CacheLayer::new(cache)).service(layer(&limiter));
    let within = |seconds| call().with_deadline((Instant::now() + seconds * SECOND).into_std());
    let frees = async {
        sleep(10 * SECOND).await;
        drop(slot);
    };
    let callers = [3, 60].map(|seconds| ends(oneshot(service.clone(), within(seconds))));
    let ([first, second], ()) = tokio::join!(
        futures_util::future::join_all(callers).map(|ended| <[_; 2]>::try_from(ended).expect("two")),
        frees
    );
    assert_eq!((first.0, first.1.map_err(|error| error.kind())), (3, Err(ErrorKind::DeadlineExceeded)));
    assert_eq!((second.0, second.1.is_ok()), (10, true));

    let _slot = limiter.try_reserve(&ask("acme")).unwrap();
    let other = Call::new("acme", ChatRequest::new("m").user("another question"));
    let mut last = Box::pin(oneshot(service, other));
    assert!(last.as_mut().now_or_never().is_none());
    assert_eq!(limiter.stats().waiting, 1);
    drop(last);
    assert_eq!(limiter.stats().waiting, 0, "the last caller has left");
}
