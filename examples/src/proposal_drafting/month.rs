//! Run that sends a month of the application through each step.

use std::{
    ops::Range,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use llm_core::BoxError;
use llm_ratelimit::{Form, Webhook};
use llm_testkit::{Fault, Latency, RefusalKind, Rule, Vendor};

use super::{
    App,
    app::description,
    background::{Progress, Queue},
    stack::{MODELS, Step, build},
};
use crate::{
    random::Random,
    report::{Cell, Report},
    steps::{self, Figures},
    vendor_prices::priced,
    virtual_time::{self, VirtualClock},
};

/// Number of digests for each customer on an evening.
const DIGESTS: u32 = 8;
const HOUR: Duration = Duration::from_secs(3_600);
const STEPS: [(&str, Step); 5] = [
    ("nothing", Step::Nothing),
    ("+ cache", Step::Cache),
    ("+ micro-batches", Step::Batches),
    ("+ plans", Step::Plans),
    ("+ second vendor", Step::SecondVendor),
];
/// Size of a run.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Number of days.
    pub days: u32,
    /// Number of new tenders a day. Each stays open for five days.
    pub tenders: u32,
    /// Number of customers with 5 proposals a month.
    pub free: u32,
    /// Number of customers with 10 proposals a day.
    pub pro: u32,
    /// Number of customers without a quota.
    pub unlimited: u32,
}

/// Result of a step: its figures, the progress of background work, and the number of alerts.
type Outcome = (Figures, Progress, u64);
type Event = (Duration, Pin<Box<dyn Future<Output = ()>>>);

/// Sends the days of `size` through each step, and returns the table of savings and that of the work in the background.
///
/// `tenders` are descriptions to use; without any, small ones are made.
///
/// # Errors
///
/// Settings that a layer refuses, and accounts that disagree with the vendors'.
pub fn reports(size: &Size, tenders: &[String], seed: u64) -> Result<[Report; 2], BoxError> {
    let made = || (0..size.tenders * size.days.max(1)).map(description).collect();
    let texts: Arc<[String]> = if tenders.is_empty() { made() } else { tenders.into() };
    let (mut rows, mut background) = (Vec::new(), background_table());
    for (name, step) in STEPS {
        let (figures, progress, alerts) = virtual_time::run(send(step, size, &texts, seed))??;
        rows.push((name, figures));
        let Progress { jobs, done, failed, waits, .. } = progress;
        background.row(name, [jobs].into_iter().chain(done).chain([failed, waits, alerts]).map(Cell::Count));
    }
    let Size { days, tenders: new, free, pro, unlimited } = size;
    let mut report =
        steps::report(format!("{days} days of {free} free, {pro} pro and {unlimited} unlimited customers"), &rows);
    let source =
        if tenders.is_empty() { "texts written here".to_owned() } else { format!("{} texts given", texts.len()) };
    report.note(format!(
        "seed {seed}; {source}; assumed: {new} new tenders a day, embedded three times a day while open (5 days); each \
         customer searches four times a day with one of three queries and reads two analyses; a third of all requests repeat the \
         latest one; the first vendor is down from 10 to 12 o'clock on the second day, both for 20 s at 20 o'clock on the \
         third; {} and {} at list price, 200 to 400 tokens a response",
        MODELS[0], MODELS[1]
    ));
    report.note("the second vendor has no embeddings: searches whose query is not stored fail during the outage");
    Ok([report, background])
}

fn background_table() -> Report {
    let columns =
        ["step", "jobs", "done at once", "1 retry", "2 retries", "3 retries", "failed", "waits for budget", "alerts"];
    let mut report = Report::new("Work in the background: digests on every second evening", columns);
    report.note(
        "jobs of the dearer plan first, two at one time, retries after 5, 10 and 20 s; one that a budget refuses waits for its \
         next day; no digest is sent to the dearer second vendor",
    );
    report.note("alerts: posted to a function in this process, because virtual time meets no socket; alerts.rs posts them over HTTP");
    report
}

async fn send(step: Step, size: &Size, texts: &Arc<[String]>, seed: u64) -> Result<Outcome, BoxError> {
    let vendors = [vendor(1)?, vendor(2)?];
    let (clock, alerts) = (VirtualClock::start(), Arc::new(AtomicU64::new(0)));
    let posted = Arc::clone(&alerts);
    let webhook = Webhook::spawn(Form::Slack, move |_json| {
        posted.fetch_add(1, Relaxed);
        async { true }
    })?;
    let (provider, limiter, ledger) = build(step, &vendors, Arc::clone(&webhook), clock)?;
    let names = |plan: &'static str, count: u32| (0..count).map(move |number| (plan, format!("{plan}-{number}")));
    let all = names("free", size.free).chain(names("pro", size.pro));
    let all: Vec<_> = all.chain(names("unlimited", size.unlimited)).collect();
    all.iter().try_for_each(|(plan, name)| limiter.set_plan(name, plan))?;

    let (app, queue) = (Arc::new(App::new(provider, Arc::clone(texts))), Arc::new(Queue::new(2)));
    let mut events = outages(&vendors);
    for day in 0..size.days {
        indexing(&app, size.tenders, day, &mut events);
        for (number, (plan, name)) in (0..).zip(&all) {
            let mut random = Random::of(seed, u64::from(day) << 32 | number);
            let tenders = size.tenders * day..size.tenders * (day + 1);
            work(&app, tenders, (day, plan, name), &mut random, &mut events);
        }
        let jobs = all.iter().filter(|(plan, _)| *plan != "free").flat_map(|(plan, name)| {
            let priority = if *plan == "unlimited" { 2 } else { 1 };
            (0..DIGESTS).map(move |number| (priority, (name.clone(), size.tenders * day + number)))
        });
        if day.is_multiple_of(2) {
            events.push(digests(&app, &queue, day, jobs.collect()));
        }
    }
    events.sort_by_key(|(at, _)| *at);
    virtual_time::replay(clock, events).await;
    webhook.close().await;
    let figures = Figures::of(&ledger, &[&vendors[0], &vendors[1]], &app.taken())?;
    Ok((figures, queue.progress(), alerts.load(Relaxed)))
}

/// Creates outages: the first vendor for two hours, and later both for 20 s.
fn outages(vendors: &[Vendor; 2]) -> Vec<Event> {
    let set = |vendor: &Vendor, at: Duration, is_down: bool| -> Event {
        let vendor = vendor.clone();
        let change = async move {
            if is_down {
                vendor.script(Rule::new(Fault::Refused(RefusalKind::Overloaded)));
            } else {
                vendor.clear_script();
            }
        };
        (at, Box::pin(change))
    };
    let (morning, evening) = (HOUR * 34, HOUR * 68);
    let mut events = vec![set(&vendors[0], morning, true), set(&vendors[0], morning + 2 * HOUR, false)];
    for vendor in vendors {
        events.extend([set(vendor, evening, true), set(vendor, evening + Duration::from_secs(20), false)]);
    }
    events
}

/// Embeds all open tenders at 6, 12 and 18 o'clock.
fn indexing(app: &Arc<App>, new: u32, day: u32, events: &mut Vec<Event>) {
    for hour in [6, 12, 18] {
        for tender in new * day.saturating_sub(4)..new * (day + 1) {
            let app = Arc::clone(app);
            let index = async move { drop(app.index(tender).await) };
            events.push((HOUR * (24 * day + hour), Box::pin(index)));
        }
    }
}

/// Adds the work of a customer's day: searches, analyses and proposals, some of them twice.
fn work(
    app: &Arc<App>,
    tenders: Range<u32>,
    (day, plan, name): (u32, &str, &str),
    random: &mut Random,
    events: &mut Vec<Event>,
) {
    let proposals = match plan {
        "free" => u64::from(random.below(3) == 0),
        "pro" => 6 + random.below(9),
        _ => 15,
    };
    let mut at = || HOUR * (24 * day + 8) + Duration::from_millis(random.below(10 * 3_600_000));
    let times: Vec<_> = (0..6 + proposals).map(|_| at()).collect();
    let mut latest = tenders.start;
    for (number, at) in (0_u64..).zip(times) {
        if random.below(3) > 0 {
            let number = random.below(u64::from(tenders.end - tenders.start));
            latest = tenders.start + u32::try_from(number).unwrap_or(0);
        }
        let (app, name, tender) = (Arc::clone(app), name.to_owned(), latest);
        let query = format!("{name} looks for work of kind {}", random.below(3));
        let call = async move {
            // A failure is counted, and the customer continues.
            match number {
                0..4 => drop(app.search(&name, &query).await),
                4..6 => drop(app.analyse(&name, tender).await),
                _ => drop(app.propose(&name, tender).await),
            }
        };
        events.push((at, Box::pin(call)));
    }
}

/// Writes digests at 20 o'clock, those of the dearer plan first.
fn digests(app: &Arc<App>, queue: &Arc<Queue>, day: u32, jobs: Vec<(u32, (String, u32))>) -> Event {
    let (app, queue) = (Arc::clone(app), Arc::clone(queue));
    let run = async move {
        let digest = |(name, tender): (String, u32)| {
            let app = Arc::clone(&app);
            async move { app.digest(&name, tender).await }
        };
        drop(queue.run(jobs, digest).await);
    };
    (HOUR * (24 * day + 20), Box::pin(run))
}

fn vendor(seed: u64) -> Result<Vendor, BoxError> {
    let vendor = Vendor::builder().seed(seed).recorded_requests(0).response_tokens(200..=400);
    let latency = Latency::fixed(Duration::from_millis(500), Duration::from_millis(8));
    let models = [MODELS[0], MODELS[1], "text-embedding-3-small"];
    Ok(priced(vendor, &models)?.latency(latency).build())
}
