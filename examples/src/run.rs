//! Run that sends a workload through a stack and counts the results.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use llm_core::{BoxError, Cause, ManualClock};
use llm_providers::ledger::{Row as Booked, Snapshot};
use tokio::time::Instant;

use crate::{
    percentile::Latency,
    progress::Progress,
    simulation::Simulation,
    table::{self, Row},
    workload::Source,
};

/// Number of calls in flight if their order does not matter and nothing is packed.
pub const AT_ONCE: usize = 32;

/// Latencies of each organisation's calls.
type Latencies = BTreeMap<Arc<str>, Vec<Duration>>;

/// Sends a workload with `at_once` calls in flight, and returns the table of its organisations.
///
/// # Errors
///
/// The first call that fails, or a workload that cannot be read.
pub async fn at_once(simulation: &Simulation, source: Source, at_once: usize) -> Result<String, BoxError> {
    let mut progress = Progress::new(source.name(), source.calls());
    let mut latencies = Latencies::new();
    let mut calls = stream::iter(source)
        .map(|request| {
            let provider = simulation.provider();
            // Each call has a task of its own, because a call for which others wait must go on whichever of them is
            // polled.
            #[expect(clippy::disallowed_methods, reason = "a binary's edge")]
            tokio::spawn(async move {
                let (request, started) = (request?, Instant::now());
                let organisation = Arc::clone(&request.organisation);
                Simulation::send(provider, request).await?;
                Ok::<_, BoxError>((organisation, started.elapsed()))
            })
        })
        .buffered(at_once);
    while let Some(call) = calls.next().await {
        let (organisation, took) = call??;
        latencies.entry(organisation).or_default().push(took);
        progress.tick();
    }
    progress.finish();
    Ok(report(&simulation.books(), latencies))
}

/// Sends a workload one call at a time, in order. A `clock` is set to the time of each request.
///
/// # Errors
///
/// As [`at_once`].
pub async fn in_order(
    simulation: &Simulation,
    clock: Option<&ManualClock>,
    source: Source,
) -> Result<String, BoxError> {
    let mut progress = Progress::new(source.name(), source.calls());
    let mut latencies = Latencies::new();
    for request in source {
        let request = request?;
        if let (Some(clock), Some(at)) = (clock, request.at) {
            clock.set_unix(at.duration_since(std::time::UNIX_EPOCH)?);
        }
        let (organisation, started) = (Arc::clone(&request.organisation), Instant::now());
        Simulation::send(simulation.provider(), request).await?;
        latencies.entry(organisation).or_default().push(started.elapsed());
        progress.tick();
    }
    progress.finish();
    Ok(report(&simulation.books(), latencies))
}

/// Returns true if the stack's ledger is balanced and agrees with the vendor's bills, to the nano-dollar.
pub fn agrees(simulation: &Simulation) -> bool {
    let (books, (billed, _)) = (simulation.books(), simulation.bill());
    books.balance().is_balanced() && i64::try_from(billed) == Ok(books.total().paid.nanos())
}

/// Returns a sentence that says if the stack's ledger agrees with the vendor's bills.
pub fn check(simulation: &Simulation) -> String {
    let (books, (billed, calls)) = (simulation.books(), simulation.bill());
    let total = books.total();
    let verdict = if agrees(simulation) { "the books agree" } else { "THE BOOKS DISAGREE" };
    format!(
        "{verdict}: paid {} for {} attempts, of which {} useful and {} wasted; the vendor's own books bill {} for {calls}",
        total.paid,
        total.attempts,
        total.useful,
        total.wasted.total(),
        llm_core::Usd::from_nanos(i64::try_from(billed).unwrap_or(i64::MAX)),
    )
}

fn report(books: &Snapshot, latencies: Latencies) -> String {
    let in_all = Latency::of(latencies.values().flatten().copied().collect());
    let rows: Vec<Row> = latencies
        .into_iter()
        .map(|(name, took)| match books.tenant(&name) {
            Some(booked) => row(&name, booked, Latency::of(took)),
            None => Row::new(&*name),
        })
        .collect();
    table::render(&rows, in_all)
}

fn row(name: &str, booked: &Booked, latency: Option<Latency>) -> Row {
    let saved = Cause::ALL.map(|cause| (cause.name().to_owned(), booked.saved.of(cause).nanos()));
    Row {
        calls: booked.calls,
        hits: booked.hits,
        coalesced: booked.coalesced,
        tokens_in: booked.usage_paid.input,
        tokens_out: booked.usage_paid.output,
        paid: booked.paid.nanos(),
        unconfirmed: booked.unconfirmed.amount.nanos(),
        saved: saved.into(),
        latency,
        ..Row::new(name)
    }
}

#[cfg(test)]
mod tests;
