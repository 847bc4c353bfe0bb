//! Run that sends uploads through each step.

use std::{collections::BTreeSet, pin::Pin, time::Duration};

use llm_core::{BoxError, Call, Priority, layer::oneshot};
use llm_ratelimit::{Limiter, Shed};
use llm_testkit::{Latency, Limit, Vendor};
use serde_json::json;
use tokio::time::Instant;

use super::{
    stack::{Step, build},
    uploads::{KEYS, Size, Upload, draw},
};
use crate::{
    packers::{photos::ScorePhoto, simulated::responder},
    random::Random,
    report::Report,
    steps::{self, Figures},
    vendor_prices::priced,
    virtual_time::{self, VirtualClock},
};

const STEPS: [(&str, Step); 6] = [
    ("nothing", Step::Nothing),
    ("+ pool", Step::Pool),
    ("+ cache", Step::Cache),
    ("+ plans", Step::Plans),
    ("+ packing", Step::Packing),
    ("+ emergency", Step::Emergency),
];

type Sent<'a> = Pin<Box<dyn Future<Output = Option<(Duration, bool)>> + 'a>>;

/// Sends the customers' uploads through each step, and returns the table of savings.
///
/// `photos` are the files to upload. If there are none, small ones are generated.
///
/// # Errors
///
/// A layer refuses its settings, or the ledger disagrees with the vendor's bills.
pub fn report(size: &Size, photos: &[Vec<u8>], seed: u64) -> Result<Report, BoxError> {
    let usual: u32 = size.customers.iter().map(|customers| customers.count * customers.a_minute).sum();
    let (uploads, limit) = (draw(size, seed), size.limit);
    let mut rows = Vec::new();
    for (name, step) in STEPS {
        rows.push((name, virtual_time::run(send(step, size, &uploads, photos))??));
    }
    let (minutes, spike) = (size.minutes, size.spike.len());
    let title = format!("Photos of {minutes} minutes, {usual} a minute, with {spike} minutes of ten times as many");
    let mut report = steps::report(title, &rows);
    report.note(format!(
        "seed {seed}; {} uploaded photos; assumed: a quarter are a photo that the customer uploaded before; plans of 5, 10 and \
         unlimited analyses a minute, which wait at most 60 s; four keys of one organisation with {limit} requests a minute; \
         0.5 s and 8 ms a token; gpt-4o-mini at list price, 85 tokens a photo",
        if photos.is_empty() { "made".to_owned() } else { format!("{} given", photos.len()) }
    ));
    report.note("emergency: in the spike the operator refuses bulk work and doubles all plans' limits");
    Ok(report)
}

async fn send(step: Step, size: &Size, uploads: &[Upload], photos: &[Vec<u8>]) -> Result<Figures, BoxError> {
    let (limit, clock) = (size.limit, VirtualClock::start());
    let vendor = vendor(limit)?;
    let (stack, limiter, ledger) = build(step, &vendor, limit, clock)?;
    let customers: BTreeSet<_> = uploads.iter().map(|upload| (upload.plan, upload.customer)).collect();
    customers.iter().try_for_each(|(plan, customer)| limiter.set_plan(&format!("{plan}-{customer}"), plan))?;
    let mut calls: Vec<(Duration, Sent<'_>)> = Vec::new();
    if step == Step::Emergency {
        calls.push((Duration::from_secs(60) * size.spike.start, act(limiter.clone(), true)));
        calls.push((Duration::from_secs(60) * size.spike.end, act(limiter.clone(), false)));
    }
    for upload in uploads {
        let stack = stack.clone();
        let sent = async move {
            let photo =
                photos.get(upload.photo as usize % photos.len().max(1)).cloned().unwrap_or_else(|| made(upload));
            let priority = if upload.is_bulk { Priority::Background } else { Priority::Interactive };
            let call = Call::new(format!("{}-{}", upload.plan, upload.customer), ScorePhoto { photo });
            let start = Instant::now();
            let reply = oneshot(stack, call.with_priority(priority)).await;
            Some((start.elapsed(), reply.is_ok()))
        };
        calls.push((upload.at, Box::pin(sent)));
    }
    calls.sort_by_key(|(at, _)| *at);
    let taken: Vec<_> = virtual_time::replay(clock, calls).await.into_iter().flatten().collect();
    Figures::of(&ledger, &[&vendor], &taken)
}

/// Handles the spike as an operator does: until its end, refuses bulk work and doubles all limits.
fn act(limiter: Limiter, begins: bool) -> Sent<'static> {
    Box::pin(async move {
        let emergency = limiter.emergency();
        if begins {
            emergency.shed(Shed::Priority(Priority::Background));
            emergency.scale(2_000);
        } else {
            emergency.restore();
        }
        None
    })
}

fn vendor(limit: u64) -> Result<Vendor, BoxError> {
    let score = |photo: &str| json!({"score": photo.bytes().map(u64::from).sum::<u64>() % 10 + 1});
    // The vendor limits only requests, so it states no limit on tokens.
    let vendor = Vendor::builder().recorded_requests(0).rate_limits(None).keys(KEYS).respond_with(responder(score));
    let vendor = priced(vendor, &["gpt-4o-mini"])?;
    let latency = Latency::fixed(Duration::from_millis(500), Duration::from_millis(8));
    let limit = Limit::requests(limit, Duration::from_secs(60));
    Ok(vendor.latency(latency).limit_organisation("organisation", KEYS, [limit]).build())
}

/// Makes a small photo for an upload: the head of a PNG file and noise. Equal uploads have equal photos.
fn made(upload: &Upload) -> Vec<u8> {
    let of = u64::from(upload.customer) << 32 | u64::from(upload.photo);
    let mut random = Random::of(of, upload.plan.len() as u64);
    let noise: Vec<u8> = (0..12).flat_map(|_| random.next_u64().to_le_bytes()).collect();
    [b"\x89PNG\r\n\x1a\n".as_slice(), &noise].concat()
}
