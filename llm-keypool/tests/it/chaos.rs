//! Tests with random failures and drops. No output contains a part of a key.

use std::time::Duration;

use llm_core::{Call, ChatRequest, Priority, layer::oneshot};
use llm_keypool::{Event, KeyPool};
use llm_providers::OpenAi;
use llm_testkit::{Fault, RefusalKind, RetryForm, Rule, Traces, Transport};
use tokio::task::JoinSet;

use crate::support::Prng;

const KEYS: [&str; 3] = ["sk-secret-one-11111111", "sk-secret-two-22222222", "sk-secret-three-333333"];

fn fault(prng: &mut Prng) -> Fault {
    match prng.below(8) {
        0 => Fault::rate_limited(Duration::from_secs(prng.below(4)), RetryForm::Seconds),
        1 => Fault::rate_limited(Duration::ZERO, RetryForm::Silent),
        2 => Fault::Refused(RefusalKind::ServerError),
        3 => Fault::Refused(RefusalKind::Overloaded),
        4 => Fault::Refused(RefusalKind::Forbidden),
        5 => Fault::Refused(RefusalKind::NoCredit),
        6 => Fault::Reset,
        _ => Fault::TruncatedJson,
    }
}

fn pool(http: &Transport, events: std::sync::mpsc::Sender<String>) -> KeyPool<OpenAi<Transport>> {
    let lookup = |_: &str| Some(format!("one:{},two:{},{}", KEYS[0], KEYS[1], KEYS[2]));
    let client = |key: &str| OpenAi::with_transport(key, http.clone());
    let builder = KeyPool::from_env("KEYS", lookup, client).unwrap();
    builder.on_event(move |event: &Event| drop(events.send(format!("{event:?}")))).seed(7).build().unwrap()
}

async fn run(seed: u64) -> String {
    let mut prng = Prng(seed);
    let vendor = llm_testkit::Vendor::builder().seed(seed).keys([KEYS[0], KEYS[1]]).build();
    for _ in 0..10 {
        vendor.script(Rule::new(fault(&mut prng)).skip(prng.below(30)).times(1 + prng.below(6)));
    }
    let (sender, events) = std::sync::mpsc::channel();
    let pool = pool(&vendor.transport(), sender);
    let (mut running, mut output) = (JoinSet::new(), String::new());
    for _ in 0..20 {
        let mut call = Call::new("acme", ChatRequest::new("gpt-4o-mini").user("hello"));
        if prng.below(3) == 0 {
            call.priority = Priority::Background;
        }
        let limit = Duration::from_millis(prng.below(40_000));
        let deadline = tokio::time::Instant::now() + limit;
        if prng.below(2) == 0 {
            call.deadline = Some(deadline.into_std());
        }
        let send = oneshot(pool.clone(), call);
        // Some callers leave before the end.
        running.spawn(async move {
            tokio::time::timeout_at(deadline, send).await.map(|sent| sent.map(|reply| reply.output))
        });
        tokio::time::sleep(Duration::from_millis(prng.below(500))).await;
    }
    for outcome in running.join_all().await {
        output.push_str(&format!("{outcome:?}"));
    }
    let status = pool.status();
    assert!(
        status.members.iter().all(|member| member.in_flight == 0) && status.waiting == 0,
        "seed {seed}: {status:?}"
    );
    output.push_str(&format!("{status:?} {:?} {pool:?}", pool.snapshot()));
    drop(pool);
    output.extend(events);
    output
}

#[test]
fn chaos_leaves_nothing_and_shows_no_key() {
    let traces = Traces::record();
    for seed in 0..100 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let mut output = runtime.block_on(run(seed));
        output.extend(traces.take_fields());
        for key in KEYS {
            for part in [key, &key[10..], &key[..14]] {
                assert!(!output.contains(part), "seed {seed}: {part} is in the output");
            }
        }
    }
}
