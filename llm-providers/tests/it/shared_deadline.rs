//! Tests of calls that several callers share, below the layer that shares them: the client and retries follow the
//! deadline as it changes.

use std::time::Duration;

use futures_util::StreamExt;
use llm_core::{
    Call, ChatRequest, Error, ErrorKind, Provider, into_provider,
    layer::{CallDeadline, SharedDeadline},
};
use llm_providers::{OpenAi, retry::RetryLayer};
use llm_testkit::{Fault, Latency, RetryForm, Rule, Vendor};
use tokio::time::{Instant, sleep};
use tower::ServiceBuilder;

const SECOND: Duration = Duration::from_secs(1);

fn after(seconds: u32) -> CallDeadline {
    CallDeadline::from(Some((Instant::now() + seconds * SECOND).into_std()))
}

fn shared_call(deadline: &SharedDeadline) -> Call<ChatRequest> {
    let mut call = Call::new("acme", ChatRequest::new("gpt-4o-mini").user("hello"));
    call.extensions.insert(deadline.clone());
    call
}

/// Returns the number of seconds until the call ends, and whether it was answered.
async fn ends(provider: &dyn Provider, call: Call<ChatRequest>, streamed: bool) -> (u64, Result<(), ErrorKind>) {
    let start = Instant::now();
    let outcome: Result<(), Error> = async {
        if !streamed {
            return provider.chat(call).await.map(drop);
        }
        let mut stream = provider.chat_stream(call).await?.output;
        while let Some(event) = stream.next().await {
            event?;
        }
        Ok(())
    }
    .await;
    (start.elapsed().as_secs(), outcome.map_err(|error| error.kind()))
}

/// Returns a vendor whose response takes six seconds, with the first piece after two.
fn slow() -> Vendor {
    Vendor::builder().response_tokens(5..=5).latency(Latency::fixed(2 * SECOND, SECOND)).build()
}

#[tokio::test(start_paused = true)]
async fn client_follows_deadline_of_shared_call() {
    let vendor = slow();
    let client = OpenAi::with_transport("no-real-key", vendor.transport()).unwrap();
    let late = Err(ErrorKind::DeadlineExceeded);
    for streamed in [false, true] {
        let deadline = SharedDeadline::new();
        let _first = deadline.join(after(3));
        assert_eq!(ends(&client, shared_call(&deadline), streamed).await, (3, late), "alone");

        let deadline = SharedDeadline::new();
        let (_first, second) = (deadline.join(after(3)), deadline.join(after(60)));
        let leaves = async {
            sleep(4 * SECOND).await;
            drop(second);
        };
        let (ended, ()) = tokio::join!(ends(&client, shared_call(&deadline), streamed), leaves);
        assert_eq!(ended, (4, late), "the first one's is over when the second leaves");

        for has_deadline in [true, false] {
            let deadline = SharedDeadline::new();
            let _first = deadline.join(after(3));
            let caller = if has_deadline { after(60) } else { CallDeadline::default() };
            let joins = async {
                sleep(2 * SECOND).await;
                let joined = deadline.join(caller);
                sleep(60 * SECOND).await;
                drop(joined);
            };
            tokio::select! {
                (seconds, outcome) = ends(&client, shared_call(&deadline), streamed) => {
                    assert_eq!((outcome, seconds >= 6), (Ok(()), true), "a caller who waits longer joined");
                }
                () = joins => panic!("it has ended"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn retry_waits_within_deadline_of_shared_call() {
    let refused = || Rule::new(Fault::rate_limited(2 * SECOND, RetryForm::Seconds)).once();
    let stack = |vendor: &Vendor| {
        let client = OpenAi::with_transport("no-real-key", vendor.transport()).expect("the key is a header value");
        into_provider(ServiceBuilder::new().layer(RetryLayer::new()).service(client))
    };
    let late = Err(ErrorKind::RateLimited);
    let vendor = Vendor::new();
    let provider = stack(&vendor);

    vendor.script(refused());
    let deadline = SharedDeadline::new();
    let first = deadline.join(after(1));
    assert_eq!(ends(&*provider, shared_call(&deadline), false).await, (0, late), "alone: no retry ends in time");

    vendor.script(refused());
    let second = deadline.join(after(5));
    assert_eq!(ends(&*provider, shared_call(&deadline), false).await, (2, Ok(())));

    vendor.script(refused());
    let leaves = async {
        sleep(SECOND).await;
        drop(second);
    };
    let calls = vendor.calls();
    let (ended, ()) = tokio::join!(ends(&*provider, shared_call(&deadline), false), leaves);
    assert_eq!((ended, vendor.calls() - calls), ((1, late), 1), "no caller waits for the retry any more");
    drop(first);
}
