//! Tests of the batcher without tower.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use llm_batch::{BatchLayer, Batcher};
use llm_core::{Error, ErrorKind, layer::BatchLimits};
use tokio::time::sleep;

use crate::support::{LATENCY, MS};

const LIMITS: BatchLimits = BatchLimits::of_items(10).with_tokens(100);

fn batcher(sizes: &Arc<Mutex<Vec<usize>>>, settings: impl Into<BatchLayer>) -> Batcher<u32, u32> {
    let sizes = Arc::clone(sizes);
    Batcher::new(settings, move |items: Vec<u32>| {
        sizes.lock().expect("no test panics holding it").push(items.len());
        async move {
            sleep(LATENCY).await;
            match items.contains(&13) {
                true => Err(Error::invalid("no luck")),
                false => Ok(items.iter().map(|item| item * 2).collect()),
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn batcher_returns_each_item_its_response() {
    let sizes = Arc::default();
    let batcher = batcher(&sizes, LIMITS);
    let responses = join_all((0..21).map(|n| batcher.submit(n))).await;
    for (n, response) in responses.into_iter().enumerate() {
        match n {
            13 => assert_eq!(response.unwrap_err().kind(), ErrorKind::InvalidRequest),
            _ => assert_eq!(response.ok(), Some(2 * n as u32)),
        }
    }
    assert_eq!(sizes.lock().expect("no test panics holding it")[..3], [1, 10, 10]);
    assert_eq!((batcher.stats().calls, batcher.stats().requests), (21, 3));
}

#[tokio::test(start_paused = true)]
async fn batcher_counts_tokens_of_items() {
    let sizes = Arc::default();
    let batcher = batcher(&sizes, BatchLayer::new(LIMITS).max_wait(MS).max_pending(100, 1_000));
    let batcher = batcher.tokens(|item| u64::from(*item));
    let responses = join_all([40, 40, 40, 95, 40].map(|n| batcher.submit(n))).await;
    assert!(responses.iter().all(Result::is_ok));
    let mut sizes = sizes.lock().expect("no test panics holding it").clone();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 1, 1, 2], "95 go alone, and three of 40 do not fit");
}

#[tokio::test(start_paused = true)]
async fn batcher_missing_responses_are_malformed() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let batcher = Batcher::new(BatchLimits::of_items(10), move |items: Vec<u32>| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move { Ok(items.into_iter().skip(1).collect::<Vec<_>>()) }
    });
    let error = batcher.submit(7).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Malformed, "0 responses came for 1 items"));
    batcher.close().await;
    assert_eq!(batcher.submit(8).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn batcher_panic_fails_each_waiting_caller() {
    let batcher = Batcher::new(BatchLimits::of_items(10), |items: Vec<u32>| async move {
        sleep(LATENCY).await;
        assert!(items.len() == 1, "the function panics");
        Ok(items)
    });
    let one = |n: u32| {
        let batcher = batcher.clone();
        async move { batcher.submit(n).await }
    };
    let results = join_all((0..4).map(one)).await;
    assert_eq!(results[0].as_ref().ok(), Some(&0));
    let failed = results.iter().skip(1).filter(|result| result.is_err()).count();
    assert_eq!(failed, 3);
    assert_eq!(batcher.submit(7).await.ok(), Some(7), "the next item is sent");
}
