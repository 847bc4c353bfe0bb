use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered, unfold},
};
use llm_core::Error;
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    deliver::{Deliver, Entry, is_of_request},
    groups::InFlight,
    shared_batch::SharedBatch,
    telemetry,
    window::Flush,
};

/// A caller's place and item, with the error of the attempt before, alone and with those of all earlier ones.
type Item<I> = (usize, Entry<I>, Option<(Error, Error)>);

/// A batch while its callers drive it.
struct Run<I, O, D> {
    batch: Arc<SharedBatch<I, O>>,
    in_flight: InFlight<I, O>,
    deliver: D,
    attempts: FuturesUnordered<BoxFuture<'static, Attempt<I, O>>>,
    is_flushed: bool,
}

/// Outcome of one request.
struct Attempt<I, O> {
    sent: Vec<Item<I>>,
    results: Vec<Result<O, Error>>,
}

/// Returns the stream that gathers, sends and halves a batch. It has an item each time that results are stored.
pub(crate) fn run<I, O, D>(
    batch: Arc<SharedBatch<I, O>>,
    in_flight: InFlight<I, O>,
    deliver: D,
) -> BoxStream<'static, ()>
where
    I: Clone + Send + 'static,
    O: Send + 'static,
    D: Deliver<I, O>,
{
    let run = Run { batch, in_flight, deliver, attempts: FuturesUnordered::new(), is_flushed: false };
    unfold(run, Run::step).boxed()
}

impl<I: Clone + Send + 'static, O: Send + 'static, D: Deliver<I, O>> Run<I, O, D> {
    async fn step(mut self) -> Option<((), Self)> {
        if !self.is_flushed {
            let cause = self.batch.flushed().await;
            self.flush(cause);
        }
        let attempt = self.attempts.next().await?;
        self.settle(attempt);
        Some(((), self))
    }

    fn flush(&mut self, cause: Flush) {
        self.is_flushed = true;
        self.in_flight.close_batch();
        let mut longest = Duration::ZERO;
        let entries = self.batch.take(Instant::now(), |waited| {
            longest = longest.max(waited);
            telemetry::waited(waited);
        });
        if entries.is_empty() {
            return;
        }
        let shared = self.in_flight.shared();
        shared.counters.requests.fetch_add(1, Relaxed);
        let items = entries.iter().map(|(_, entry)| entry.items).sum();
        telemetry::flushed(cause, entries.len(), items, shared.settings.limits.items, longest);
        self.send(entries.into_iter().map(|(place, entry)| (place, entry, None)).collect());
    }

    fn send(&self, items: Vec<Item<I>>) {
        let span = telemetry::request(items.len(), items.iter().any(|(_, _, failed)| failed.is_some()));
        let attempt = attempt(Arc::clone(&self.batch), self.deliver.clone(), items);
        self.attempts.push(attempt.instrument(span).boxed());
    }

    /// Stores the results of a request, or halves it.
    fn settle(&self, Attempt { sent, results }: Attempt<I, O>) {
        let is_halved = sent.len() > 1 && results.iter().all(|result| result.as_ref().is_err_and(is_of_request));
        if !is_halved {
            if let Some((_, first, _)) = sent.first() {
                let estimated = sent.iter().fold(0, |sum: u64, (_, entry, _)| sum.saturating_add(entry.tokens));
                self.in_flight.learn::<D>(&first.model, estimated, &results);
            }
            for ((place, _, failed), result) in sent.into_iter().zip(results) {
                self.batch.finish(place, result.map_err(|error| after(error, &failed)));
            }
            return;
        }
        let counters = &self.in_flight.shared().counters;
        counters.halvings.fetch_add(1, Relaxed);
        counters.further_requests.fetch_add(2, Relaxed);
        telemetry::halved(sent.len());
        let failed = |((place, entry, failed), result): (Item<I>, Result<O, Error>)| {
            (place, entry, result.err().map(|error| (error.clone(), after(error, &failed))))
        };
        let mut items: Vec<_> = sent.into_iter().zip(results).map(failed).collect();
        let other = items.split_off(items.len() / 2);
        self.send(items);
        self.send(other);
    }
}

/// Sends one request: the items whose callers are left and permit it.
async fn attempt<I: Clone + Send, O: Send, D: Deliver<I, O>>(
    batch: Arc<SharedBatch<I, O>>,
    deliver: D,
    items: Vec<Item<I>>,
) -> Attempt<I, O> {
    let mut sent = Vec::with_capacity(items.len());
    for (place, entry, failed) in items {
        if batch.has_left(place) {
            continue;
        }
        if let (Some((last, all)), Some(permit)) = (&failed, &entry.permit)
            && permit.request(last).await.is_err()
        {
            batch.finish(place, Err(all.clone()));
            continue;
        }
        sent.push((place, entry, failed));
    }
    let bodies: Vec<_> = sent.iter().map(|(_, entry, _)| entry.item.clone()).collect();
    let results = if bodies.is_empty() { Vec::new() } else { deliver.deliver(bodies, batch.deadline.clone()).await };
    Attempt { sent, results }
}

/// Adds the attempts before to an error.
fn after(error: Error, before: &Option<(Error, Error)>) -> Error {
    match before {
        Some((_, all)) => error.with_earlier_attempts(all),
        None => error,
    }
}
