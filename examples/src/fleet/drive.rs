//! Sends arrivals through a stack and counts.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use llm_core::{BoxError, Call, ChatRequest, Error, Origin, Provider, Usd};
use llm_providers::Ledger;
use llm_testkit::{Latency, Limit, Vendor};
use tokio::time::{Instant, sleep_until};

use super::{
    arrivals::Arrival,
    stack::{self, Settings},
};
use crate::{
    packers::simulated::responder, percentile::nearest_rank, random::Random, vendor_prices::priced,
    virtual_time::VirtualClock, workload::INSTRUCTION,
};

/// Model that is requested.
pub const MODEL: &str = "gpt-4o";
/// Requests a minute that the vendor allows each key.
pub const KEY_LIMIT: u64 = 2_000;
/// Tokens of a response, some twenty test cases.
pub const RESPONSE_TOKENS: std::ops::RangeInclusive<u64> = 700..=1_100;

/// Figures of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// Requests of organisations.
    pub calls: u64,
    /// Requests that got a stored response, or that of a call that was running.
    pub hits: u64,
    /// Requests that got no response.
    pub refused: u64,
    /// Requests that the vendor received.
    pub sent: u64,
    /// Requests that the vendor refused by its limits.
    pub limited: u64,
    /// Amount paid.
    pub paid: Usd,
    /// Times from a request to its whole response, in order.
    pub times: Vec<Duration>,
}

impl Outcome {
    /// Returns the time that so many of 100 responses took at most.
    #[must_use]
    pub fn percentile(&self, percent: u32) -> Duration {
        nearest_rank(&self.times, percent).unwrap_or_default()
    }
}

/// Sends the arrivals through a stack of its own, in virtual time, and counts what begins at `counted_from` or later.
///
/// # Errors
///
/// Settings that a layer refuses, and accounts that disagree with the vendor's.
pub async fn drive(settings: &Settings, arrivals: &[Arrival], counted_from: Duration) -> Result<Outcome, BoxError> {
    let (vendor, clock) = (vendor(settings.keys.unwrap_or(1))?, VirtualClock::start());
    let (provider, ledger) = stack::build(settings, &vendor, clock)?;
    let (mut outcome, mut before) = (Outcome::default(), None);
    let mut running = FuturesUnordered::new();
    let mut next = arrivals.iter();
    let mut arrival = next.next();
    while arrival.is_some() || !running.is_empty() {
        let at = arrival.map_or(clock.started_at(), |arrival| clock.started_at() + arrival.at);
        tokio::select! {
            biased;
            () = sleep_until(at), if arrival.is_some() => {
                let Some(due) = arrival else { continue };
                let is_counted = due.at >= counted_from;
                if is_counted && before.is_none() {
                    before = Some(figures(&ledger, &vendor));
                }
                let ask = ask(Arc::clone(&provider), *due);
                running.push(async move { (is_counted, ask.await) });
                arrival = next.next();
            }
            Some((is_counted, (took, origin))) = running.next() => {
                if is_counted {
                    outcome.calls += 1;
                    match origin {
                        Ok(origin) => {
                            outcome.hits += u64::from(origin != Origin::Vendor);
                            outcome.times.push(took);
                        }
                        Err(_) => outcome.refused += 1,
                    }
                }
            }
        }
    }
    let total = ledger.snapshot().total().clone();
    let billed = Usd::from_nanos(vendor.total_billed().try_into()?);
    if total.paid != billed || !total.balance().is_balanced() {
        return Err(format!("the ledger paid {}, and the vendor billed {billed}", total.paid).into());
    }
    let (before, after) = (before.unwrap_or_default(), figures(&ledger, &vendor));
    (outcome.paid, outcome.sent, outcome.limited) = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
    outcome.times.sort_unstable();
    Ok(outcome)
}

fn figures(ledger: &Ledger, vendor: &Vendor) -> (Usd, u64, u64) {
    (ledger.snapshot().total().paid, vendor.calls(), vendor.limited().len() as u64)
}

/// Requests the test cases of a scenario, and returns the time that it took.
async fn ask(provider: Arc<dyn Provider>, arrival: Arrival) -> (Duration, Result<Origin, Error>) {
    let start = Instant::now();
    let Arrival { organisation, text, .. } = arrival;
    let step =
        format!("Given an order of {text} parts, when organisation {organisation} confirms it, then it is sent. ");
    let request = ChatRequest::new(MODEL).system(INSTRUCTION).user(step.repeat(16));
    let call = Call::new(format!("organisation-{organisation}"), request.temperature(0.0).max_output_tokens(1_200));
    let reply = provider.chat(call).await;
    (start.elapsed(), reply.map(|reply| reply.receipt.origin()))
}

/// Creates the vendor: half a second to the first token, 8 ms a token, and a limit for each key.
fn vendor(keys: u32) -> Result<Vendor, BoxError> {
    let vendor = Vendor::builder().recorded_requests(0).respond_with(responder(|item| response(item).into()));
    let vendor = priced(vendor.keys((0..keys).map(|key| format!("sk-{key}"))), &[MODEL])?;
    let latency = Latency::fixed(Duration::from_millis(500), Duration::from_millis(8));
    let limit = Limit::requests(KEY_LIMIT, Duration::from_secs(60));
    Ok(vendor.latency(latency).limit_each_key([limit]).build())
}

/// Returns a response whose length follows from the prompt.
fn response(prompt: &str) -> String {
    let seed = prompt.bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let (least, most) = RESPONSE_TOKENS.into_inner();
    let tokens = least + Random::new(seed).below(most - least + 1);
    "run ".repeat(usize::try_from(tokens).unwrap_or(0))
}
