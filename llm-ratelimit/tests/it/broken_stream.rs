//! Tests of streams that break off. The reported usage counts. Unreported usage may be as much as was reserved.

use llm_core::{
    Call, Charge, ChatEvent, ChatRequest, ChatStream, Error, ErrorKind, Reply, Usage,
    layer::{Streamed, oneshot},
};
use llm_providers::{
    prices,
    scripted::{Rule, Scripted},
};
use llm_ratelimit::{Demand, EstimateInput, Estimator, Limiter, OverrunPolicy, RateLimitLayer, Settlement};
use tower::ServiceBuilder;

use crate::support::{AtOnce, limits, noon};

const MODEL: &str = "gpt-4o-mini";
const QUOTAS: [&str; 5] =
    ["100k tokens/day", "100k input tokens/day", "100k output tokens/day", "$1/day", "100k tokens/minute"];

/// Estimator of 100 input tokens and 50 output tokens.
struct Guess;

impl Estimator for Guess {
    fn estimate(&self, _: &EstimateInput<'_>) -> (u64, u64) {
        (100, 50)
    }
}

fn limiter() -> Limiter {
    limits(QUOTAS).clock(noon()).prices(prices::openai()).build().expect("they are right")
}

fn counted(limiter: &Limiter) -> Vec<u64> {
    let usage = limiter.usage("acme").at_once();
    assert!(usage.iter().all(|status| status.reserved == 0), "{usage:?}");
    usage.iter().map(|status| status.used).collect()
}

fn amounts(input: u64, output: u64) -> Vec<u64> {
    let cost = prices::openai().cost(MODEL, &Usage::new(input, output)).expect("it is listed");
    let cost = u64::try_from(cost.nanos()).expect("not negative");
    vec![input + output, input, output, cost, input + output]
}

/// Input and output tokens that were reported before the stream broke off, and those that count.
const CASES: [([u64; 2], [u64; 2]); 4] =
    [([15_000, 0], [15_000, 50]), ([15_000, 700], [15_000, 700]), ([7, 700], [100, 700]), ([7, 3], [100, 50])];

/// Sends a call whose stream breaks off after some words, or is dropped before.
async fn break_off(layer: RateLimitLayer, words: usize, [input, output]: [u64; 2], is_dropped: bool) {
    let word = || Ok(ChatEvent::Text { choice: 0, text: "word ".into() });
    let error = Error::new(ErrorKind::Server, "it broke");
    let events = std::iter::repeat_with(word).take(words).chain([Err(error)]);
    let service = ServiceBuilder::new()
        .layer(layer)
        .map_response(move |reply: Reply<ChatStream>| {
            reply.receipt.edit(|facts| facts.usage_so_far = Some(Usage::new(input, output)));
            reply
        })
        .service(Scripted::new().rule(Rule::stream(events)));
    let call = Call::new("acme", Streamed(ChatRequest::new(MODEL).user("a")));
    let reply = oneshot(service, call).await.expect("a stream");
    match is_dropped {
        true => drop(reply),
        false => drop(reply.output.complete().await.expect_err("it broke")),
    }
}

#[tokio::test(start_paused = true)]
async fn broken_stream_counts_usage_so_far() {
    for (told, [input, output]) in CASES {
        for is_dropped in [false, true] {
            let limiter = limiter();
            break_off(RateLimitLayer::new(limiter.clone()).estimator(Guess), 1, told, is_dropped).await;
            assert_eq!(counted(&limiter), amounts(input, output), "{told:?}, dropped: {is_dropped}");
        }
    }
}

/// 125 tokens of text make the stream reserve 100 more output tokens.
#[tokio::test(start_paused = true)]
async fn broken_stream_counts_later_reservations_once() {
    for (told, output) in [(130, 150), (700, 700)] {
        let limiter = limiter();
        let layer = RateLimitLayer::new(limiter.clone()).estimator(Guess).overrun(OverrunPolicy::Truncate);
        break_off(layer, 100, [7, told], false).await;
        assert_eq!(counted(&limiter)[2], output, "{told} output tokens were told");
    }
}

/// The vendor refused the call within the stream, after the stream had been returned.
#[tokio::test(start_paused = true)]
async fn broken_stream_free_before_content_counts_nothing() {
    for (charge, expected) in [(Charge::None, vec![0; 5]), (Charge::Unknown, amounts(100, 50))] {
        let limiter = limiter();
        let start = ChatEvent::Start { id: "1".into(), model: MODEL.into() };
        let error = Error::new(ErrorKind::Overloaded, "busy").with_charge(charge);
        let service = ServiceBuilder::new()
            .layer(RateLimitLayer::new(limiter.clone()).estimator(Guess))
            .service(Scripted::new().rule(Rule::stream([Ok(start), Err(error)])));
        let call = Call::new("acme", Streamed(ChatRequest::new(MODEL).user("a")));
        let reply = oneshot(service, call).await.expect("a stream");
        assert_eq!(reply.output.complete().await.expect_err("it is busy").charge(), charge);
        assert_eq!(counted(&limiter), expected, "{charge:?}");
    }
}

#[test]
fn settlement_at_least_counts_greater_amount() {
    for (told, _) in CASES {
        let [input, output] = told;
        let limiter = limiter();
        let reservation = limiter.try_reserve(&Demand::new("acme", MODEL).tokens(100, 50)).unwrap();
        reservation.settle(Settlement::AtLeast { usage: Usage::new(input, output), cost: None });
        let (reserved, used) = (amounts(100, 50), amounts(input, output));
        let greater: Vec<u64> = reserved.iter().zip(&used).map(|(reserved, used)| *reserved.max(used)).collect();
        assert_eq!(counted(&limiter), greater, "{told:?}");
    }
}
