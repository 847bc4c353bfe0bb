//! Tests with one hour of a cloud's conversations (AzureLLMInferenceTrace of Splitwise), sent through a limiter to a
//! vendor with the same quotas. By default only the busiest minutes are sent.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Request;
use llm_ratelimit::{Settlement, Waiting};
use llm_testkit::{Limit, Outcome, Vendor, tokens};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::{Random, percentile, rows};
use crate::support::{Paused, ask, limits};

const MINUTE: Duration = Duration::from_secs(60);
/// Longest wait of the callers.
const TIMEOUT: Duration = MINUTE;
/// The vendor's quota of tokens a minute. The hour's busiest minutes need more.
const TOKENS: u64 = 700_000;
const REQUESTS: u64 = 500;

/// Quota of tokens a minute that is too small to serve all calls in time.
fn too_few() -> u64 {
    if crate::full() { 520_000 } else { 610_000 }
}

/// Divisor of all numbers of tokens, in calls and quotas. Prompts of the original length would take a debug build too
/// long to read.
fn unit() -> u64 {
    if crate::full() { 1 } else { 10 }
}

/// Arrival of a call: its time and its tokens.
#[derive(Clone, Copy)]
struct Arrival {
    at: Duration,
    input: u64,
    output: u64,
}

impl Arrival {
    fn tokens(&self) -> u64 {
        self.input + self.output
    }
}

/// Outcomes of all calls.
#[derive(Default)]
struct Outcomes {
    /// Waiting time of each served call.
    waits: Vec<Duration>,
    /// Tokens of the served calls.
    tokens: u64,
    limited: usize,
}

#[tokio::test(start_paused = true)]
async fn azure_trace_hour_gets_no_429() {
    let Some(hour) = hour() else { return };
    for (name, arrivals) in [("trace", &hour), ("Poisson control", &poisson(&hour))] {
        compare(name, arrivals, TOKENS).await;
    }
}

#[tokio::test(start_paused = true)]
async fn azure_hour_overloaded_serves_what_fits() {
    let Some(hour) = hour() else { return };
    let possible = compare("trace, too few tokens", &hour, too_few()).await;
    assert!(possible < hour.len(), "the offline scheduler turns some away");
    compare("Poisson control, as few", &poisson(&hour), too_few()).await;
}

/// Sends the calls through a limiter, and compares the number of served calls with that of an offline scheduler.
async fn compare(name: &str, arrivals: &[Arrival], quota: u64) -> usize {
    let possible = offline(arrivals, quota / unit());
    let served = through_a_limiter(arrivals, quota / unit()).await;
    println!(
        "{name}: of {} calls an offline scheduler serves {} of {} tokens (p95 wait {:.1?}), the limiter {} of {} (p95 wait {:.1?}); {} refused by the vendor",
        arrivals.len(),
        possible.waits.len(),
        possible.tokens,
        percentile(&possible.waits, 95),
        served.waits.len(),
        served.tokens,
        percentile(&served.waits, 95),
        served.limited,
    );
    assert_eq!(served.limited, 0, "{name}");
    assert!(served.waits.len() * 100 >= possible.waits.len() * 99, "{name}: calls");
    // The burst, which is as large as the largest call, is not part of the rate. While calls wait, this part of the
    // quota remains unused.
    assert!(served.tokens * 100 >= possible.tokens * 98, "{name}: tokens");
    possible.waits.len()
}

/// Without a limiter, the same vendor refuses calls. This shows that the test above can fail.
#[tokio::test(start_paused = true)]
async fn azure_trace_hour_unlimited_gets_429() {
    let Some(hour) = hour() else { return };
    let vendor = vendor(TOKENS / unit());
    for arrival in &hour {
        send(&vendor, arrival.at, arrival);
    }
    assert!(vendor.limited().len() > 50, "{}", vendor.limited().len());
}

async fn through_a_limiter(arrivals: &[Arrival], quota: u64) -> Outcomes {
    // Rate and burst together are the vendor's quota for any minute. The burst is as large as the largest call.
    let burst = arrivals.iter().map(Arrival::tokens).max().expect("there are calls");
    let tokens = format!("{} tokens/minute burst {burst}", quota - burst);
    let requests = format!("{}/minute burst {}", REQUESTS - REQUESTS / 100, REQUESTS / 100);
    let waiting = Waiting::at_most(TIMEOUT).max_calls(arrivals.len()).max_tokens(u64::MAX);
    let limiter = limits([tokens.as_str(), &requests])
        .clock(Paused::new())
        .waiting(waiting)
        .build()
        .expect("the limits are right");
    let (vendor, start) = (vendor(quota), Instant::now());
    let outcomes = Arc::new(Mutex::new(Outcomes::default()));
    let calls: Vec<_> = arrivals
        .iter()
        .copied()
        .map(|arrival| {
            let (limiter, vendor, outcomes) = (limiter.clone(), vendor.clone(), Arc::clone(&outcomes));
            tokio::spawn(async move {
                sleep_until(start + arrival.at).await;
                let came = Instant::now();
                let demand = ask("application").tokens(arrival.input, arrival.output);
                let Ok(mut reservation) = limiter.reserve(&demand).await else { return };
                reservation.mark_sent();
                send(&vendor, start.elapsed(), &arrival);
                // The vendor counts the largest usage of a request, so the limiter does too.
                reservation.settle(Settlement::Unknown);
                let mut outcomes = outcomes.lock().expect("no caller panicked");
                outcomes.waits.push(came.elapsed());
                outcomes.tokens += arrival.tokens();
            })
        })
        .collect();
    for call in calls {
        call.await.expect("no caller panicked");
    }
    let outcomes = std::mem::take(&mut *outcomes.lock().expect("no caller panicked"));
    Outcomes { limited: vendor.limited().len(), ..outcomes }
}

fn vendor(quota: u64) -> Vendor {
    let limits = [Limit::tokens(quota, MINUTE), Limit::requests(REQUESTS, MINUTE)];
    Vendor::builder().response_tokens(1..=1).recorded_requests(0).limit_each_key(limits).build()
}

/// Sends a call with exactly these tokens.
fn send(vendor: &Vendor, now: Duration, arrival: &Arrival) {
    let body = |text: String| json!({"model": "m", "max_tokens": arrival.output, "messages": [{"role": "user", "content": text}]});
    let frame = tokens::chat_input(&body(String::new()));
    let text = "abcd".repeat(usize::try_from(arrival.input.saturating_sub(frame)).expect("a prompt fits into memory"));
    let request = Request::post("/v1/chat/completions").header("authorization", "Bearer key");
    let plan = vendor.decide(now, &request.body(body(text).to_string().into()).expect("a request"));
    vendor.settle(now, plan.call, Outcome::Delivered);
}

/// Returns the outcomes of a scheduler that knows the vendor's log and fills every window completely, first come, first
/// served.
fn offline(arrivals: &[Arrival], quota: u64) -> Outcomes {
    let (mut log, mut used, mut free) = (VecDeque::<(Duration, u64)>::new(), 0, Duration::ZERO);
    let mut outcomes = Outcomes::default();
    for arrival in arrivals {
        let (mut at, amount) = (arrival.at.max(free), arrival.tokens());
        // How many of the log will have left by then, and what the others take.
        let (mut gone, mut rest) = (0, used);
        loop {
            while let Some((_, left)) = log.get(gone).filter(|(first, _)| *first + MINUTE <= at) {
                (gone, rest) = (gone + 1, rest - left);
            }
            if rest + amount <= quota && ((log.len() - gone) as u64) < REQUESTS {
                break;
            }
            at = log[gone].0 + MINUTE;
        }
        if at - arrival.at <= TIMEOUT {
            log.drain(..gone);
            log.push_back((at, amount));
            (free, used) = (at, rest + amount);
            outcomes.waits.push(at - arrival.at);
            outcomes.tokens += amount;
        }
    }
    outcomes
}

fn hour() -> Option<Vec<Arrival>> {
    let tokens = |text: &String| text.parse::<u64>().expect("a number").div_ceil(unit());
    let arrival = |row: Vec<String>| Arrival {
        at: Duration::from_secs_f64(row[0].parse().expect("a number")),
        // The format of a chat takes some tokens too.
        input: tokens(&row[1]).max(16),
        output: tokens(&row[2]).max(1),
    };
    let hour: Vec<Arrival> = rows("azure2023_conv.csv.gz")?.into_iter().map(arrival).collect();
    Some(if crate::full() { hour } else { busiest(&hour) })
}

/// Returns the six minutes with the most tokens.
fn busiest(hour: &[Arrival]) -> Vec<Arrival> {
    let from = |minute: u64| {
        let begin = MINUTE * u32::try_from(minute).expect("an hour has 60");
        let within = hour.iter().filter(move |arrival| begin <= arrival.at && arrival.at < begin + 6 * MINUTE);
        within.map(move |arrival| Arrival { at: arrival.at - begin, ..*arrival })
    };
    let tokens = |minute: &u64| from(*minute).map(|arrival| arrival.tokens()).sum::<u64>();
    from((0..54).max_by_key(tokens).expect("an hour has minutes")).collect()
}

/// Returns the same calls at the same mean rate, at independent random times.
fn poisson(hour: &[Arrival]) -> Vec<Arrival> {
    let length = hour.last().expect("the hour has calls").at.as_secs_f64();
    let (mut random, mut at, rate) = (Random(7), 0.0, hour.len() as f64 / length);
    let moved = hour.iter().map(|arrival| {
        at += random.gap(rate);
        Arrival { at: Duration::from_secs_f64(at), ..*arrival }
    });
    moved.collect()
}
