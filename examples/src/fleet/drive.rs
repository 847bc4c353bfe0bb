//! Sends requests through a stack, and counts the results.

use std::{cell::OnceCell, sync::Arc, time::Duration};

use llm_core::{BoxError, Call, ChatRequest, Origin, Usd};
use llm_providers::Ledger;
use llm_testkit::{Latency, Limit, Vendor};
use tokio::time::Instant;

use super::{
    arrivals::Arrival,
    stack::{self, Settings},
};
use crate::{
    packers::simulated::responder,
    percentile::nearest_rank,
    random::Random,
    vendor_prices::priced,
    virtual_time::{VirtualClock, replay},
    workload::INSTRUCTION,
};

/// Model of the requests.
pub const MODEL: &str = "gpt-4o";
/// Requests a minute that the vendor allows for each key.
pub const KEY_LIMIT: u64 = 2_000;
/// Number of tokens in a response, which are about twenty test cases.
pub const RESPONSE_TOKENS: std::ops::RangeInclusive<u64> = 700..=1_100;

/// Results of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// Number of requests of organisations.
    pub calls: u64,
    /// Requests that got a stored response, or the response of a running call.
    pub hits: u64,
    /// Number of requests that got no response.
    pub refused: u64,
    /// Number of requests that the vendor received.
    pub sent: u64,
    /// Number of requests that the vendor refused because of its limits.
    pub limited: u64,
    /// Number of tokens that were paid.
    pub tokens: u64,
    /// Amount paid.
    pub paid: Usd,
    /// Times from a request to its complete response, in ascending order.
    pub times: Vec<Duration>,
}

impl Outcome {
    /// Returns the time within which `percent` of 100 responses arrived.
    #[must_use]
    pub fn percentile(&self, percent: u32) -> Duration {
        nearest_rank(&self.times, percent).unwrap_or_default()
    }
}

/// Sends calls through a new stack in virtual time, each at its time since the start. Counts the calls that begin at
/// `counted_from` or later. The times must not decrease.
///
/// # Errors
///
/// A layer refuses its settings, or the ledger disagrees with the vendor's bills.
pub async fn drive(
    settings: &Settings,
    calls: impl IntoIterator<Item = (Duration, Call<ChatRequest>)>,
    counted_from: Duration,
) -> Result<Outcome, BoxError> {
    let (vendor, clock) = (vendor(settings.keys.unwrap_or(1))?, VirtualClock::start());
    let (provider, ledger) = stack::build(settings, &vendor, clock)?;
    let (mut outcome, before) = (Outcome::default(), OnceCell::new());
    let timed = calls.into_iter().map(|(at, call)| {
        let (provider, ledger, vendor, before) = (Arc::clone(&provider), &ledger, &vendor, &before);
        let sent = async move {
            let is_counted = at >= counted_from;
            if is_counted {
                before.get_or_init(|| Figures::of(ledger, vendor));
            }
            let start = Instant::now();
            let reply = provider.chat(call).await;
            is_counted.then(|| (start.elapsed(), reply.map(|reply| reply.receipt.origin())))
        };
        (at, sent)
    });
    for (took, origin) in replay(clock, timed).await.into_iter().flatten() {
        outcome.calls += 1;
        match origin {
            Ok(origin) => {
                outcome.hits += u64::from(origin != Origin::Vendor);
                outcome.times.push(took);
            }
            Err(_) => outcome.refused += 1,
        }
    }
    let total = ledger.snapshot().total().clone();
    let billed = Usd::from_nanos(vendor.total_billed().try_into()?);
    if total.paid != billed || !total.balance().is_balanced() {
        return Err(format!("the ledger paid {}, and the vendor billed {billed}", total.paid).into());
    }
    let (before, after) = (before.into_inner().unwrap_or_default(), Figures::of(&ledger, &vendor));
    (outcome.paid, outcome.tokens) = (after.paid - before.paid, after.tokens - before.tokens);
    (outcome.sent, outcome.limited) = (after.sent - before.sent, after.limited - before.limited);
    outcome.times.sort_unstable();
    Ok(outcome)
}

/// Numbers from a ledger and a vendor at one moment.
#[derive(Default)]
struct Figures {
    paid: Usd,
    tokens: u64,
    sent: u64,
    limited: u64,
}

impl Figures {
    fn of(ledger: &Ledger, vendor: &Vendor) -> Self {
        let snapshot = ledger.snapshot();
        let (paid, usage) = (snapshot.total().paid, &snapshot.total().usage_paid);
        let limited = vendor.limited().len() as u64;
        Self { paid, tokens: usage.input + usage.output, sent: vendor.calls(), limited }
    }
}

/// Returns the request for the test cases of a scenario, with its time.
pub(super) fn request(arrival: &Arrival) -> (Duration, Call<ChatRequest>) {
    let Arrival { at, organisation, text } = *arrival;
    let step =
        format!("Given an order of {text} parts, when organisation {organisation} confirms it, then it is sent. ");
    (at, test_cases(format!("organisation-{organisation}"), step.repeat(16)))
}

/// Returns the request of an organisation for the test cases of a text.
pub(crate) fn test_cases(organisation: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Call<ChatRequest> {
    let request = ChatRequest::new(MODEL).system(INSTRUCTION).user(text.into());
    Call::new(organisation.into(), request.temperature(0.0).max_output_tokens(1_200))
}

/// Creates the vendor: half a second to the first token, 8 ms for each further token, and for each key a limit on
/// requests, but not on tokens.
fn vendor(keys: u32) -> Result<Vendor, BoxError> {
    let vendor =
        Vendor::builder().recorded_requests(0).rate_limits(None).respond_with(responder(|item| response(item).into()));
    let vendor = priced(vendor.keys((0..keys).map(|key| format!("sk-{key}"))), &[MODEL])?;
    let latency = Latency::fixed(Duration::from_millis(500), Duration::from_millis(8));
    let limit = Limit::requests(KEY_LIMIT, Duration::from_secs(60));
    Ok(vendor.latency(latency).limit_each_key([limit]).build())
}

/// Returns a response whose length depends on the prompt.
fn response(prompt: &str) -> String {
    let seed = prompt.bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let (least, most) = RESPONSE_TOKENS.into_inner();
    let tokens = least + Random::new(seed).below(most - least + 1);
    "run ".repeat(usize::try_from(tokens).unwrap_or(0))
}
