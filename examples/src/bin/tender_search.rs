//! Embeds 10,000 positions of tenders for a search, by four stacks over a simulated vendor, in virtual time.
//!
//! `cargo run -p examples --bin tender_search`, without a key or a server. The table shows the vendor's own counts: one
//! by one, micro-batched, cached, and both.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use llm_batch::BatchLayer;
use llm_cache::{Cache, CacheLayer};
use llm_core::{BoxError, Call, EmbedRequest, Error, Provider, Usd, into_provider};
use llm_providers::{OpenAi, batch_limits};
use llm_testkit::{Distribution, Latency, Transport, Vendor};
use tokio::time::Instant;
use tower::Layer;

/// Number of positions in all tenders.
const POSITIONS: usize = 10_000;
/// Largest number of calls at one time.
const AT_ONE_TIME: usize = 256;
const MODEL: &str = "text-embedding-3-small";

/// Counts of the vendor for a run, and the time that the run took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    calls: u64,
    tokens: u64,
    billed: Usd,
    time: Duration,
}

fn main() -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    println!("{:24} {:>7} {:>9} {:>10} {:>8}", "stack", "calls", "tokens", "billed", "seconds");
    for (name, run) in runtime.block_on(runs(POSITIONS))? {
        let Run { calls, tokens, billed, time } = run;
        println!("{name:24} {calls:>7} {tokens:>9} {:>10} {:>8.1}", billed.to_string(), time.as_secs_f64());
    }
    Ok(())
}

async fn runs(count: usize) -> Result<Vec<(&'static str, Run)>, BoxError> {
    let batched = BatchLayer::new(batch_limits::openai_embeddings());
    let cached = || -> Result<CacheLayer, BoxError> { Ok(CacheLayer::new(Cache::builder("tenders").build()?)) };
    Ok(vec![
        ("one by one", embed(count, |client| Ok(into_provider(client))).await?),
        ("micro-batched", embed(count, |client| Ok(into_provider(batched.layer(client)))).await?),
        ("cached", embed(count, |client| Ok(into_provider(cached()?.layer(client)))).await?),
        (
            "cached, micro-batched",
            embed(count, |client| Ok(into_provider(cached()?.layer(batched.layer(client))))).await?,
        ),
    ])
}

/// Embeds all positions through a stack, each by a call of its own, as users' requests do.
async fn embed(
    count: usize,
    stack: impl FnOnce(OpenAi<Transport>) -> Result<Arc<dyn Provider>, BoxError>,
) -> Result<Run, BoxError> {
    let first = Distribution::LogNormal { median: Duration::from_millis(300), sigma_permille: 300 };
    let latency = Latency::new(first, Distribution::Fixed(Duration::ZERO));
    // The vectors are short, so that making them takes less time.
    let vendor = Vendor::builder().dimensions(NonZeroUsize::MIN).price(MODEL, 20_000_000, 20_000_000, 0);
    let vendor = vendor.latency(latency).build();
    let provider = stack(OpenAi::with_transport("sk-example", vendor.transport())?)?;
    let start = Instant::now();
    let calls = stream::iter(positions(count))
        .map(|text| provider.embed(Call::new("builder", EmbedRequest::new(MODEL, [text]))));
    let mut calls = calls.buffer_unordered(AT_ONE_TIME);
    while let Some(reply) = calls.next().await {
        let vectors = reply?.output.vectors.len();
        if vectors != 1 {
            return Err(Error::invalid(format!("{vectors} vectors came for one text")).into());
        }
    }
    let tokens = vendor.bills().iter().map(|bill| bill.input_tokens).sum();
    let billed = Usd::from_nanos(vendor.total_billed().try_into()?);
    Ok(Run { calls: vendor.calls(), tokens, billed, time: start.elapsed() })
}

/// Returns the texts of `count` positions, in the order of their requests. Two in five recur, as positions of the same
/// trade do.
fn positions(count: usize) -> impl Iterator<Item = String> {
    const WORKS: [&str; 7] = ["supply", "supply and install", "remove", "repair", "paint", "insulate", "inspect"];
    const PARTS: [&str; 11] = [
        "roof tiles",
        "window frames",
        "steel doors",
        "water pipes",
        "gutters",
        "screed",
        "brickwork",
        "cable trays",
        "lift shafts",
        "handrails",
        "plasterboard",
    ];
    let different = count * 3 / 5 + 1;
    (0..count).map(move |n| {
        let id = n * 7_919 % different;
        let (work, part) = (WORKS[id % WORKS.len()], PARTS[id / WORKS.len() % PARTS.len()]);
        format!("Position {id}: {work} {part}, {} mm, including waste disposal and site safety", 40 + id / 77)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tender_search_batched_and_cached_saves_calls() {
        let different: HashSet<String> = positions(400).collect();
        let runs = runs(400).await.unwrap();
        let [alone, batched, cached, both] = [0, 1, 2, 3].map(|n: usize| runs[n].1);
        assert_eq!((alone.calls, cached.calls), (400, different.len() as u64));
        assert_eq!((batched.tokens, both.tokens), (alone.tokens, cached.tokens), "batches change no token");
        assert!(batched.calls * 5 < alone.calls && both.calls * 5 < cached.calls, "{runs:?}");
        assert!(both.billed < batched.billed && batched.billed <= alone.billed);
    }
}
