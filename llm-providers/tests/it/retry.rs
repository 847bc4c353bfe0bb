//! Tests of retries, in paused time.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use llm_providers::{
    Ledger, OpenAi,
    ledger::Charged,
    llm_core::{
        Call, Charge, ChatRequest, Error, ErrorKind, Provider, into_provider,
        layer::{AttemptPermit, NestedRetry, oneshot},
    },
    prices,
    retry::{RetryBudget, RetryLayer},
};
use llm_testkit::{Fault, RefusalKind, RetryForm, Rule, Vendor};
use tokio::time::Instant;
use tower::ServiceBuilder;

use crate::streaming::{block_on, read};

const SECOND: Duration = Duration::from_secs(1);

fn stack(vendor: &Vendor, retry: RetryLayer) -> std::sync::Arc<dyn Provider> {
    let client = OpenAi::with_transport("sk-test", vendor.transport()).unwrap();
    into_provider(ServiceBuilder::new().layer(retry).service(client))
}

fn failing(fault: Fault, times: u64) -> Vendor {
    let vendor = Vendor::new();
    vendor.script(Rule::new(fault).times(times));
    vendor
}

fn limited(wait: Duration) -> Fault {
    Fault::rate_limited(wait, RetryForm::Seconds)
}

fn overloaded() -> Fault {
    Fault::Refused(RefusalKind::Overloaded)
}

fn question() -> Call<ChatRequest> {
    Call::new("t", ChatRequest::new("gpt-4o-mini").user("hello"))
}

/// Sends a call, and returns the result and the duration.
async fn timed(provider: &dyn Provider, call: Call<ChatRequest>) -> (Result<String, Error>, Duration) {
    let start = Instant::now();
    let response = provider.chat(call).await.map(|reply| reply.output.text().into_owned());
    (response, start.elapsed())
}

#[test]
fn retry_after_is_waited_exactly() {
    block_on(async {
        let vendor = failing(limited(7 * SECOND), 2);
        let provider = stack(&vendor, RetryLayer::new());
        let (response, took) = timed(&*provider, question()).await;
        response.unwrap();
        assert_eq!((vendor.calls(), took), (3, 14 * SECOND));
    });
}

#[test]
fn backoff_is_random_below_doubling_bound() {
    block_on(async {
        let mut waits = Vec::new();
        for seed in 0..50 {
            let vendor = failing(overloaded(), 2);
            let layer = RetryLayer::new().backoff(4 * SECOND, 60 * SECOND).seed(seed);
            let (response, took) = timed(&*stack(&vendor, layer), question()).await;
            response.unwrap();
            assert!(took < 12 * SECOND, "{took:?}");
            waits.push(took);
        }
        waits.sort();
        assert!(waits[0] < 3 * SECOND && waits[49] > 9 * SECOND, "they spread: {waits:?}");
        waits.dedup();
        assert!(waits.len() > 45);
    });
}

#[test]
fn max_attempts_ends_retries() {
    block_on(async {
        let vendor = failing(limited(SECOND), u64::MAX);
        let provider = stack(&vendor, RetryLayer::new().attempts(NonZeroU32::new(5).unwrap()));
        let (response, took) = timed(&*provider, question()).await;
        assert_eq!((response.unwrap_err().kind(), vendor.calls(), took), (ErrorKind::RateLimited, 5, 4 * SECOND));
    });
}

#[test]
fn retry_skips_permanent_and_charged_errors() {
    block_on(async {
        for (fault, kind) in [
            (Fault::Refused(RefusalKind::ContextTooLong), ErrorKind::ContextTooLong),
            (Fault::Refused(RefusalKind::Forbidden), ErrorKind::PermissionDenied),
            (Fault::Refused(RefusalKind::NoCredit), ErrorKind::QuotaExhausted),
            (Fault::insufficient_quota(), ErrorKind::QuotaExhausted),
            (Fault::Refused(RefusalKind::ServerError), ErrorKind::Server),
            (Fault::TruncatedJson, ErrorKind::Malformed),
            (Fault::Reset, ErrorKind::Transport),
        ] {
            let vendor = failing(fault, u64::MAX);
            let (response, took) = timed(&*stack(&vendor, RetryLayer::new()), question()).await;
            assert_eq!((response.unwrap_err().kind(), vendor.calls(), took), (kind, 1, Duration::ZERO));
        }
        let vendor = Vendor::builder().keys(["another"]).build();
        let (response, _) = timed(&*stack(&vendor, RetryLayer::new()), question()).await;
        assert_eq!((response.unwrap_err().kind(), vendor.calls()), (ErrorKind::Authentication, 1));
    });
}

#[test]
fn retry_charged_repeats_charged_attempts() {
    block_on(async {
        let vendor = failing(Fault::Refused(RefusalKind::ServerError), 1);
        vendor.script(Rule::new(limited(SECOND)));
        let provider = stack(&vendor, RetryLayer::new().retry_charged(true));
        let error = timed(&*provider, question()).await.0.unwrap_err();
        // The last attempt was free, but the first may have been charged.
        assert_eq!((error.kind(), error.charge(), vendor.calls()), (ErrorKind::RateLimited, Charge::Unknown, 3));
    });
}

#[test]
fn max_retry_after_and_deadline_end_retries() {
    block_on(async {
        let vendor = failing(limited(7 * SECOND), u64::MAX);
        let provider = stack(&vendor, RetryLayer::new());
        let call = || question().with_deadline((Instant::now() + 7 * SECOND).into_std());
        let (response, took) = timed(&*provider, call()).await;
        assert_eq!((response.unwrap_err().kind(), vendor.calls(), took), (ErrorKind::RateLimited, 1, Duration::ZERO));
        let vendor = failing(limited(61 * SECOND), 1);
        let (response, took) = timed(&*stack(&vendor, RetryLayer::new()), question()).await;
        assert_eq!((response.unwrap_err().retry_after(), took), (Some(61 * SECOND), Duration::ZERO));
        let patient = RetryLayer::new().max_retry_after(2 * 61 * SECOND);
        let vendor = failing(limited(61 * SECOND), 1);
        let (response, took) = timed(&*stack(&vendor, patient), question()).await;
        assert_eq!((response.is_ok(), took), (true, 61 * SECOND));
    });
}

#[test]
fn retry_budget_bounds_retries_during_outage() {
    block_on(async {
        let vendor = failing(limited(SECOND), u64::MAX);
        let budget = RetryBudget::new(20, 10);
        let layer = RetryLayer::new().budget(budget.clone());
        let provider = stack(&vendor, layer.clone());
        for _ in 0..500 {
            provider.chat(question()).await.unwrap_err();
        }
        assert_eq!((vendor.calls(), budget.remaining()), (500 + 10 + 100, 0));
        // Another stack with the same layer shares the budget.
        let other = failing(limited(SECOND), u64::MAX);
        stack(&other, layer).chat(question()).await.unwrap_err();
        assert_eq!(other.calls(), 1);
    });
}

#[test]
fn retry_repeats_stream_until_first_event() {
    block_on(async {
        let vendor = failing(limited(SECOND), 1);
        let reply = stack(&vendor, RetryLayer::new()).chat_stream(question()).await.unwrap();
        assert!(read(reply.output, reply.receipt).await.response.is_some());
        assert_eq!(vendor.calls(), 2);
        let vendor = failing(Fault::CutAfter(3), u64::MAX);
        let layer = RetryLayer::new().retry_charged(true);
        let reply = stack(&vendor, layer).chat_stream(question()).await.unwrap();
        let read = read(reply.output, reply.receipt).await;
        assert_eq!((read.error.unwrap().kind(), vendor.calls()), (ErrorKind::Incomplete, 1));
    });
}

#[test]
fn retry_asks_attempt_permit_after_wait() {
    block_on(async {
        let vendor = failing(overloaded(), 5);
        let provider = stack(&vendor, RetryLayer::new().attempts(NonZeroU32::new(5).expect("five is not zero")));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (began, log) = (Instant::now(), Arc::clone(&asked));
        let mut call = question();
        call.extensions.insert(AttemptPermit::new(move |failed: Error| {
            let log = Arc::clone(&log);
            async move {
                tokio::time::sleep(SECOND).await;
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.push((failed.charge(), began.elapsed() > SECOND));
                if log.len() < 3 { Ok(()) } else { Err(Error::new(ErrorKind::OverBudget, "no more")) }
            }
        }));
        let error = provider.chat(call).await.unwrap_err();
        assert_eq!((vendor.calls(), error.kind()), (3, ErrorKind::Overloaded), "the attempt's own error");
        assert_eq!(*asked.lock().unwrap(), [(Charge::None, true); 3]);
    });
}

#[test]
fn nested_retry_does_not_multiply_attempts() {
    block_on(async {
        let vendor = failing(limited(SECOND), u64::MAX);
        let client = OpenAi::with_transport("sk-test", vendor.transport()).unwrap();
        let (above, below) = (RetryLayer::new(), RetryLayer::new());
        let provider = into_provider(ServiceBuilder::new().layer(above).layer(below).service(client));
        provider.chat(question()).await.unwrap_err();
        assert_eq!(vendor.calls(), 3, "not nine");
        let mut marked = question();
        marked.extensions.insert(NestedRetry);
        provider.chat(marked).await.unwrap_err();
        assert_eq!(vendor.calls(), 4, "under a pool, none");
    });
}

/// Each of two members has a retry layer of its own. A call that the first member refuses moves to the second.
#[test]
fn nested_retry_moves_call_without_retries() {
    block_on(async {
        for (marked, calls) in [(false, 3), (true, 1)] {
            let vendors = [failing(limited(SECOND), u64::MAX), failing(overloaded(), u64::MAX)];
            let members = vendors.each_ref().map(|vendor| stack(vendor, RetryLayer::new()));
            let pool = tower::service_fn(move |call: Call<ChatRequest>| {
                let [first, second] = members.clone();
                async move {
                    match first.chat(call.clone()).await {
                        Err(error) if error.kind() == ErrorKind::RateLimited => second.chat(call).await,
                        reply => reply,
                    }
                }
            });
            let retry = ServiceBuilder::new().layer(RetryLayer::new()).service(pool);
            let mut call = question();
            if marked {
                call.extensions.insert(NestedRetry);
            }
            oneshot(retry, call).await.unwrap_err();
            assert_eq!(vendors.map(|vendor| vendor.calls()), [calls; 2], "moved each time, and never retried below");
        }
    });
}

#[test]
fn retry_books_every_attempt() {
    block_on(async {
        let vendor = failing(Fault::Refused(RefusalKind::ServerError), 1);
        vendor.script(Rule::new(limited(SECOND)).once());
        let (sender, receiver) = std::sync::mpsc::channel();
        let ledger =
            Ledger::new(prices::openai()).on_attempt(move |attempt| sender.send(attempt.charged.clone()).unwrap());
        let client = OpenAi::with_transport("sk-test", vendor.transport()).unwrap();
        let provider = into_provider(
            ServiceBuilder::new()
                .layer(ledger.requests())
                .layer(RetryLayer::new().retry_charged(true))
                .layer(ledger.attempts())
                .service(client),
        );
        let reply = provider.chat(question()).await.unwrap();
        let charged: Vec<_> = receiver.try_iter().collect();
        let paid = reply.receipt.paid().exact().unwrap();
        let unconfirmed = matches!(charged[0], Charged::Unconfirmed(_));
        assert_eq!((unconfirmed, &charged[1..]), (true, &[Charged::Nothing, Charged::Paid(paid)][..]));
        let snapshot = ledger.snapshot();
        let row = snapshot.total();
        assert_eq!((row.calls, row.completed, row.attempts, row.paid), (1, 1, 3, paid));
        assert_eq!((row.useful, snapshot.balance().is_balanced()), (paid, true));
    });
}

#[tokio::test(start_paused = true)]
async fn retry_run_repeats_uncharged_failures_alone() {
    use llm_providers::llm_core::{Charge, Error, ErrorKind};

    let retry = llm_providers::retry::RetryLayer::new();
    for (kind, charge, attempts) in [
        (ErrorKind::Overloaded, Charge::None, 3),
        (ErrorKind::Server, Charge::Unknown, 1),
        (ErrorKind::InvalidRequest, Charge::None, 1),
    ] {
        let mut made = 0;
        let failed = retry.run(|| {
            made += 1;
            std::future::ready(Err::<(), _>(Error::new(kind, "no").with_charge(charge)))
        });
        let error = failed.await.unwrap_err();
        assert_eq!((error.kind(), error.charge(), made), (kind, charge, attempts));
    }
}
