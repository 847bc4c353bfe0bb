//! Tests that an error of the request itself halves a batch, and that other errors do not.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use llm_batch::{Batch, BatchLayer};
use llm_core::{
    Call, Charge, EmbedRequest, Error, ErrorKind, Usage,
    layer::{AttemptPermit, BatchLimits, LimitScope, LimitWindow, oneshot},
};
use tokio::time::timeout;
use tower::Layer;

use crate::support::{LATENCY, MS, Requests, Service, call, embeddings, first, invalid, outage, texts, vector};

const SIZE: usize = 64;

fn layer(
    requests: &Requests,
    refuse: impl Fn(&[String]) -> Option<Error> + Clone + Send + Sync + 'static,
) -> Batch<Service> {
    BatchLayer::new(BatchLimits::of_items(SIZE)).layer(requests.vendor(refuse))
}

fn bad_one(texts: &[String]) -> Option<Error> {
    texts.iter().any(|text| text.starts_with("bad")).then(invalid)
}

/// Sends one call, and then 64 in a batch, of which those at the positions `bad` fail. Returns the number of additional
/// requests.
async fn further(bad: &[usize]) -> usize {
    let requests = Requests::default();
    let batch = layer(&requests, bad_one);
    let text = |n: usize| if bad.contains(&n) { format!("bad {n}") } else { format!("good {n}") };
    let others = join_all((0..SIZE).map(|n| oneshot(batch.clone(), call(text(n)))));
    let (_, replies) = tokio::join!(oneshot(batch.clone(), call("first")), others);
    for (n, reply) in replies.iter().enumerate() {
        match reply {
            Ok(_) => assert_eq!(first(reply), vector(&text(n))),
            Err(error) => assert!(bad.contains(&n) && error.kind() == ErrorKind::InvalidRequest),
        }
    }
    assert_eq!(replies.iter().filter(|reply| reply.is_err()).count(), bad.len());
    let further = requests.all().len() - 2;
    assert_eq!(batch.stats().further_requests, further as u64);
    further
}

#[tokio::test(start_paused = true)]
async fn halving_of_bad_item_takes_twelve_requests() {
    assert_eq!(further(&[]).await, 0);
    for bad in [0, 17, 31, 32, 63] {
        assert!(further(&[bad]).await <= 12);
    }
}

#[tokio::test(start_paused = true)]
async fn several_bad_items_stay_within_bound() {
    for k in [2_usize, 3, 5, 8, 21, 64] {
        let spread: Vec<usize> = (0..k).map(|n| n * SIZE / k).collect();
        let together: Vec<usize> = (0..k).collect();
        let bound = 2.0 * k as f64 * (SIZE as f64 / k as f64).log2() + 2.0 * k as f64;
        for bad in [spread, together] {
            let further = further(&bad).await;
            assert!(further as f64 <= bound, "{k} bad: {further} of {bound}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn vendor_errors_make_no_further_request() {
    use ErrorKind::{Authentication, NotFound, OverBudget, QuotaExhausted, RateLimited, Server, Timeout, Transport};
    for kind in [Server, RateLimited, Timeout, Transport, QuotaExhausted, OverBudget, Authentication, NotFound] {
        let requests = Requests::default();
        let batch = layer(&requests, move |texts| (texts.len() > 1).then(|| Error::new(kind, "it broke")));
        let replies = join_all((0..9).map(|n| oneshot(batch.clone(), call(n.to_string())))).await;
        assert!(replies.iter().skip(1).all(|reply| reply.as_ref().is_err_and(|error| error.kind() == kind)));
        assert_eq!(requests.sizes(), [1, 8], "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn outage_while_halving_ends_it() {
    let requests = Requests::default();
    let batch = layer(&requests, |texts| match texts.len() {
        1 => None,
        8 => Some(invalid()),
        _ => Some(outage()),
    });
    let replies = join_all((0..9).map(|n| oneshot(batch.clone(), call(n.to_string())))).await;
    assert!(replies.iter().skip(1).all(|reply| reply.as_ref().is_err_and(|error| error.kind() == ErrorKind::Server)));
    assert_eq!(requests.sizes(), [1, 8, 4, 4]);
}

#[tokio::test(start_paused = true)]
async fn refusal_for_size_is_halved() {
    let too_long = || Error::new(ErrorKind::ContextTooLong, "too many tokens");
    let scope = || {
        Error::new(ErrorKind::RateLimited, "larger than the limit").with_scope(LimitScope::Model(LimitWindow::Request))
    };
    let status = || Error::new(ErrorKind::Other, "too large").with_status(413);
    for error in [too_long as fn() -> Error, scope, status] {
        let requests = Requests::default();
        let batch = layer(&requests, move |texts| (texts.len() > 20).then(error));
        let replies = join_all((0..65).map(|n| oneshot(batch.clone(), call(n.to_string())))).await;
        assert!(replies.iter().all(Result::is_ok));
        assert_eq!(requests.sizes(), [1, 64, 32, 32, 16, 16, 16, 16]);
    }
}

#[tokio::test(start_paused = true)]
async fn responses_with_missing_parts_are_halved() {
    // This vendor returns one vector too few, except for requests with a single text.
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sizes);
    let inner = tower::service_fn(move |call: Call<EmbedRequest>| {
        let mut texts = texts(&call.body);
        seen.lock().expect("no test panics holding it").push(texts.len());
        async move {
            tokio::time::sleep(LATENCY).await;
            if texts.len() > 1 {
                texts.pop();
            }
            Ok::<_, Error>(embeddings(&texts))
        }
    });
    let batch = BatchLayer::new(BatchLimits::of_items(SIZE)).layer(inner);
    let replies = join_all((0..5).map(|n| oneshot(batch.clone(), call(n.to_string())))).await;
    assert!(replies.iter().enumerate().all(|(n, reply)| first(reply) == vector(&n.to_string())));
    assert_eq!(*sizes.lock().expect("no test panics holding it"), [1, 4, 2, 2, 1, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn halving_returns_good_items_early() {
    let requests = Requests::default();
    let batch = layer(&requests, bad_one);
    let times = |text: &'static str| {
        let batch = batch.clone();
        async move {
            let start = tokio::time::Instant::now();
            let _ = oneshot(batch, call(text)).await;
            start.elapsed()
        }
    };
    let (_, good, _, _, bad) = tokio::join!(times("first"), times("good"), times("fine"), times("well"), times("bad"));
    assert!(good <= 2 * LATENCY + 12 * MS && bad > 2 * LATENCY + 12 * MS, "{good:?} {bad:?}");
}

#[tokio::test(start_paused = true)]
async fn caller_that_left_is_not_sent_again() {
    let requests = Requests::default();
    let batch = layer(&requests, bad_one);
    let calls = ["first", "good", "leaves", "bad", "fine"].map(|text| {
        let stay = if text == "leaves" { 50 * MS } else { Duration::from_secs(9) };
        timeout(stay, oneshot(batch.clone(), call(text)))
    });
    let replies = join_all(calls).await;
    let is_good = |n: usize| replies[n].as_ref().is_ok_and(Result::is_ok);
    assert_eq!([is_good(1), is_good(2), is_good(3), is_good(4)], [true, false, false, true]);
    assert_eq!(requests.all()[1].len(), 4);
    assert!(requests.all().iter().skip(2).flatten().all(|text| text != "leaves"));
}

#[tokio::test(start_paused = true)]
async fn further_attempt_needs_each_callers_permit() {
    let requests = Requests::default();
    let charged = || invalid().with_charge(Charge::Known(Usage::new(40, 0)));
    let batch = layer(&requests, move |texts| bad_one(texts).map(|_| charged()));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let with_permit = |text: &'static str, grants: bool| {
        let asked = Arc::clone(&asked);
        let mut call = call(text);
        call.extensions.insert(AttemptPermit::new(move |failed: Error| {
            asked.lock().expect("no test panics holding it").push((text, failed.charge()));
            std::future::ready(if grants { Ok(()) } else { Err(Error::new(ErrorKind::OverBudget, "no room")) })
        }));
        oneshot(batch.clone(), call)
    };
    let first = oneshot(batch.clone(), call("first"));
    let calls =
        [with_permit("good", true), with_permit("poor", false), with_permit("fine", true), with_permit("bad!", true)];
    let (_, replies) = tokio::join!(first, join_all(calls));
    let share = Charge::Known(Usage::new(10, 0));
    assert_eq!(
        asked.lock().expect("no test panics holding it")[..4],
        [("good", share), ("poor", share), ("fine", share), ("bad!", share)]
    );
    assert!(replies[0].is_ok() && replies[2].is_ok());
    assert_eq!(replies[1].as_ref().unwrap_err().charge(), share, "it is the failed attempt's own error");
    // The shares of the bad item in all of its attempts: 10 in the batch, 20 in the batch of two, and 40 alone.
    let bad = replies[3].as_ref().unwrap_err();
    assert_eq!((bad.charge(), bad.attempts().count()), (Charge::Known(Usage::new(70, 0)), 3));
}
