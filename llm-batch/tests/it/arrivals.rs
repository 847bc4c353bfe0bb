//! Tests with the arrivals of a cloud's conversations (AzureLLMInferenceTrace), as calls that can be merged.

use std::{fs::File, io::Read, path::PathBuf, time::Duration};

use flate2::read::GzDecoder;
use futures_util::future::join_all;
use llm_batch::BatchLayer;
use llm_core::layer::oneshot;
use llm_providers::batch_limits;
use tokio::time::{Instant, sleep_until};
use tower::Layer;

use crate::support::{LATENCY, MS, Requests, call};

/// Returns the arrival times in the trace's busiest minutes, relative to the first.
#[expect(clippy::disallowed_methods, reason = "a test's edge: where the public traces lie")]
fn arrivals() -> Option<Vec<Duration>> {
    let Some(directory) = std::env::var_os("LLM_TRACES").map(PathBuf::from) else {
        eprintln!("skipped: LLM_TRACES names no directory");
        return None;
    };
    let mut text = String::new();
    let file = File::open(directory.join("azure2023_conv.csv.gz")).expect("the trace is there");
    GzDecoder::new(file).read_to_string(&mut text).expect("the trace is whole");
    let seconds = |line: &str| line.split(',').next()?.parse::<f64>().ok();
    let times: Vec<f64> = text.lines().skip(1).filter_map(seconds).take(5_000).collect();
    let first = *times.first()?;
    Some(times.into_iter().map(|time| Duration::from_secs_f64((time - first).max(0.0))).collect())
}

#[tokio::test(start_paused = true)]
async fn azure_arrivals_wait_little_and_save_requests() {
    let Some(arrivals) = arrivals() else { return };
    assert!(arrivals.len() > 1_000);
    println!("faster | requests of {} calls | calls a request | added wait p50 | p95", arrivals.len());
    for faster in [1, 10, 100, 1_000] {
        let requests = Requests::default();
        let batch = BatchLayer::new(batch_limits::openai_embeddings()).layer(requests.kind());
        let start = Instant::now();
        let one = async |(n, at): (usize, &Duration)| {
            let at = start + *at / faster;
            sleep_until(at).await;
            // Timers have a resolution of a millisecond, so the time of the actual arrival is read.
            let at = Instant::now();
            oneshot(batch.clone(), call(n.to_string())).await.expect("it is answered");
            at.elapsed() - LATENCY
        };
        let mut waits = join_all(arrivals.iter().enumerate().map(one)).await;
        waits.sort_unstable();
        let at = |percent: usize| waits[waits.len() * percent / 100];
        let sent = requests.sizes().len();
        println!("{faster:6} | {sent:5} | {:5.1} | {:?} | {:?}", arrivals.len() as f64 / sent as f64, at(50), at(95));
        assert!(waits.last().is_some_and(|longest| *longest <= 12 * MS), "{:?}", waits.last());
        assert!(sent < arrivals.len());
    }
}
