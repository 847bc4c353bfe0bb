//! One hour of a cloud's conversations (AzureLLMInferenceTrace of Splitwise), through a limiter to a vendor that enforces
//! the same quotas; its busiest quarter where time is short.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Request;
use llm_ratelimit::{Actual, Waiting};
use llm_testkit::{Limit, Outcome, Vendor, tokens};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::{Random, percentile, rows};
use crate::time::{Paused, ask, limits};

const MINUTE: Duration = Duration::from_secs(60);
/// Callers wait for so long.
const PATIENCE: Duration = MINUTE;
/// The vendor's quotas a minute. The hour's busiest minutes ask for more than these tokens.
const TOKENS: u64 = 700_000;
const REQUESTS: u64 = 500;

/// All tokens are counted in so many at once, those of calls and those of quotas: prompts as long as they were take a
/// debug build a long time to read.
fn unit() -> u64 {
    if crate::full() { 1 } else { 10 }
}

/// A call: when it comes, and how many tokens it takes.
#[derive(Clone, Copy)]
struct Arrival {
    at: Duration,
    input: u64,
    output: u64,
}

struct Outcomes {
    served: usize,
    limited: usize,
    waits: Vec<Duration>,
}

#[tokio::test(start_paused = true)]
async fn an_hour_meets_no_429_and_nearly_all_that_could_be_served_is() {
    let Some(hour) = hour() else { return };
    for (name, arrivals) in [("trace", hour.clone()), ("Poisson control", poisson(&hour))] {
        let possible = offline(&arrivals);
        let Outcomes { served, limited, waits } = through_a_limiter(&arrivals).await;
        println!(
            "{name}: of {} calls an offline scheduler serves {} (p95 wait {:.1?}), the limiter {served} (p95 wait {:.1?}); {limited} refused by the vendor",
            arrivals.len(),
            possible.len(),
            percentile(&possible, 95),
            percentile(&waits, 95),
        );
        assert_eq!(limited, 0, "{name}");
        assert!(served * 100 >= possible.len() * 99, "{name}: {served} of {}", possible.len());
    }
}

/// Without a limiter the same vendor refuses, so the test above can fail.
#[tokio::test(start_paused = true)]
async fn the_vendor_refuses_the_same_hour_without_a_limiter() {
    let Some(hour) = hour() else { return };
    let vendor = vendor();
    for arrival in &hour {
        send(&vendor, arrival.at, arrival);
    }
    assert!(vendor.limited().len() > 50, "{}", vendor.limited().len());
}

async fn through_a_limiter(arrivals: &[Arrival]) -> Outcomes {
    // Rate and burst together are the vendor's minute, wherever it begins.
    let (tokens, requests) = (TOKENS / unit() / 20, REQUESTS / 20);
    let tokens = format!("{} tokens/minute burst {tokens}", tokens * 19);
    let requests = format!("{}/minute burst {requests}", requests * 19);
    let waiting = Waiting::at_most(PATIENCE).max_calls(arrivals.len()).max_tokens(u64::MAX);
    let limiter = limits([tokens.as_str(), &requests]).clock(Paused::new()).waiting(waiting).build();
    let (vendor, start) = (vendor(), Instant::now());
    let waits = Arc::new(Mutex::new(Vec::new()));
    let calls: Vec<_> = arrivals
        .iter()
        .copied()
        .map(|arrival| {
            let (limiter, vendor, waits) = (limiter.clone(), vendor.clone(), Arc::clone(&waits));
            tokio::spawn(async move {
                sleep_until(start + arrival.at).await;
                let came = Instant::now();
                let demand = ask("application").tokens(arrival.input, arrival.output);
                let Ok(mut reservation) = limiter.reserve(&demand).await else { return };
                reservation.mark_sent();
                send(&vendor, start.elapsed(), &arrival);
                // The vendor counts what a request may take, so this does, too.
                reservation.settle(Actual::Unknown);
                waits.lock().expect("no caller panicked").push(came.elapsed());
            })
        })
        .collect();
    for call in calls {
        call.await.expect("no caller panicked");
    }
    let waits = std::mem::take(&mut *waits.lock().expect("no caller panicked"));
    Outcomes { served: waits.len() - vendor.limited().len(), limited: vendor.limited().len(), waits }
}

fn vendor() -> Vendor {
    let limits = [Limit::tokens(TOKENS / unit(), MINUTE), Limit::requests(REQUESTS, MINUTE)];
    Vendor::builder().answer_tokens(1..=1).keep_requests(0).limit_each_key(limits).build()
}

/// Sends a call of just so many tokens.
fn send(vendor: &Vendor, now: Duration, arrival: &Arrival) {
    let body = |text: String| json!({"model": "m", "max_tokens": arrival.output, "messages": [{"role": "user", "content": text}]});
    let frame = tokens::chat_input(&body(String::new()));
    let text = "abcd".repeat(usize::try_from(arrival.input.saturating_sub(frame)).expect("a prompt fits into memory"));
    let request = Request::post("/v1/chat/completions").header("authorization", "Bearer key");
    let plan = vendor.decide(now, &request.body(body(text).to_string().into()).expect("a request"));
    vendor.settle(now, plan.call, Outcome::Delivered);
}

/// A scheduler that knows the vendor's own log and fills every window to its brim, first come, first served: how long
/// each call that it serves has to wait.
fn offline(arrivals: &[Arrival]) -> Vec<Duration> {
    let (mut log, mut used, mut free) = (VecDeque::<(Duration, u64)>::new(), 0, Duration::ZERO);
    let mut waits = Vec::new();
    for arrival in arrivals {
        let (mut at, amount) = (arrival.at.max(free), arrival.input + arrival.output);
        loop {
            while let Some((first, gone)) = log.front().copied().filter(|(first, _)| *first + MINUTE <= at) {
                let _ = (log.pop_front(), first);
                used -= gone;
            }
            if used + amount <= TOKENS / unit() && (log.len() as u64) < REQUESTS {
                break;
            }
            at = log.front().expect("no call is more than a quota").0 + MINUTE;
        }
        if at - arrival.at <= PATIENCE {
            (free, used) = (at, used + amount);
            log.push_back((at, amount));
            waits.push(at - arrival.at);
        }
    }
    waits
}

fn hour() -> Option<Vec<Arrival>> {
    let tokens = |text: &String| text.parse::<u64>().expect("a number").div_ceil(unit());
    let arrival = |row: Vec<String>| Arrival {
        at: Duration::from_secs_f64(row[0].parse().expect("a number")),
        // The format of a chat takes some tokens, too.
        input: tokens(&row[1]).max(16),
        output: tokens(&row[2]).max(1),
    };
    let hour: Vec<Arrival> = rows("azure2023_conv.csv.gz")?.into_iter().map(arrival).collect();
    Some(if crate::full() { hour } else { busiest(&hour) })
}

/// The quarter of an hour that asks for the most tokens.
fn busiest(hour: &[Arrival]) -> Vec<Arrival> {
    let quarter = |minute: u64| {
        let begin = MINUTE * u32::try_from(minute).expect("an hour has 60");
        let within = hour.iter().filter(move |arrival| begin <= arrival.at && arrival.at < begin + 15 * MINUTE);
        within.map(move |arrival| Arrival { at: arrival.at - begin, ..*arrival })
    };
    let tokens = |minute: &u64| quarter(*minute).map(|arrival| arrival.input + arrival.output).sum::<u64>();
    quarter((0..45).max_by_key(tokens).expect("an hour has minutes")).collect()
}

/// The same calls at the same mean rate, at times that know nothing of each other.
fn poisson(hour: &[Arrival]) -> Vec<Arrival> {
    let length = hour.last().expect("the hour has calls").at.as_secs_f64();
    let (mut random, mut at, rate) = (Random(7), 0.0, hour.len() as f64 / length);
    let moved = hour.iter().map(|arrival| {
        at += random.gap(rate);
        Arrival { at: Duration::from_secs_f64(at), ..*arrival }
    });
    moved.collect()
}
