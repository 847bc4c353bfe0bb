//! Tables that answer the questions of a plan.

use std::time::Duration;

use llm_cache::Cache;
use llm_core::{BoxError, ManualClock, Usd};

use super::{
    arrivals::{Arrival, Load, busiest, changes, suites},
    drive::{KEY_LIMIT, MODEL, Outcome, RESPONSE_TOKENS, drive, request},
    model::Model,
    stack::Settings,
};
use crate::{
    report::{Cell, Report},
    virtual_time,
};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// Limit of each organisation, in requests a minute.
const LIMIT: u32 = 10;
/// Largest number of prompts in a packed request.
const PACK: usize = 10;
/// Number of keys in the plan.
const KEYS: u32 = 3;
/// Share of a suite's texts that is new each day, per mille.
const NEW: u64 = 30;

/// Size of a simulation.
#[derive(Clone, Debug)]
pub struct Size {
    /// Number of organisations at first, and after the growth.
    pub organisations: [u32; 2],
    /// Mean number of requests that an organisation sends in 30 days.
    pub calls_a_month: u64,
    /// Number of days before the counted ones, in which the cache fills.
    pub warm_up: u32,
    /// Number of days that are counted.
    pub days: u32,
    /// Numbers of organisations that are tried with the plan's keys.
    pub tried: Vec<u32>,
}

impl Size {
    /// Returns the plan's size: 20 organisations that pay $500 a month together, and 500.
    #[must_use]
    pub fn plan() -> Self {
        let tried = vec![500, 16_000, 24_000, 32_000];
        Self { organisations: [20, 500], calls_a_month: 2_450, warm_up: 7, days: 30, tried }
    }

    fn load(&self, organisations: u32, seed: u64) -> Load {
        Load { organisations, calls_a_month: self.calls_a_month, days: self.warm_up + self.days, seed }
    }

    /// Returns the requests in the busiest ten minutes of the first working week.
    fn peak(&self, model: &Model, organisations: u32, times: u64, seed: u64) -> Vec<Arrival> {
        let load = Load { organisations, calls_a_month: self.calls_a_month * times, days: 3, seed };
        busiest(&changes(model, &load), Duration::from_secs(600))
    }
}

/// Runs all simulations and returns their tables: the steps, times to live, instances, keys and the spike.
///
/// # Errors
///
/// A layer refuses its settings, or the ledger disagrees with the vendor's bills.
pub fn reports(model: &Model, size: &Size, seed: u64) -> Result<Vec<Report>, BoxError> {
    let steps = steps(model, size, seed)?;
    let (Some(Cell::Money(paid)), Some(Cell::Count(sent))) = (steps.cell(0, "paid a month"), steps.cell(0, "sent"))
    else {
        return Err("the first step has no figures".into());
    };
    let each = Usd::from_nanos(paid.nanos() / i64::try_from(*sent)?.max(1));
    Ok(vec![
        steps.clone(),
        lifetimes(model, size, seed, each)?,
        instances(model, size, seed)?,
        keys(model, size, seed)?,
        spike(model, size, seed)?,
    ])
}

/// Returns the steps, each with the layers of those before it.
#[must_use]
pub fn stacks() -> [(&'static str, Settings); 5] {
    let nothing = Settings::default();
    let cache = Settings { cache: Some(WEEK), ..nothing };
    let limits = Settings { limit: Some(LIMIT), ..cache };
    let pack = Settings { pack: Some(PACK), ..limits };
    let pool = Settings { keys: Some(KEYS), ..pack };
    [("nothing", nothing), ("+ cache", cache), ("+ limits", limits), ("+ packing", pack), ("+ pool", pool)]
}

fn run(settings: &Settings, arrivals: &[Arrival], counted_from: Duration) -> Result<Outcome, BoxError> {
    virtual_time::run(drive(settings, arrivals.iter().map(request), counted_from))?
}

/// Sends a month of requests of the first number of organisations through each step.
fn steps(model: &Model, size: &Size, seed: u64) -> Result<Report, BoxError> {
    let [few, many] = size.organisations;
    let arrivals = changes(model, &size.load(few, seed));
    let title = format!("{few} organisations, {} days: what each step changes", size.days);
    let columns =
        ["step", "calls", "hit rate", "sent", "paid a month", "if 500", "p50", "p95", "p99", "refused", "429s"];
    let mut report = Report::new(title, columns);
    for (name, settings) in stacks() {
        let outcome = run(&settings, &arrivals, DAY * size.warm_up)?;
        let paid = Usd::from_nanos(outcome.paid.nanos() / i64::from(size.days) * 30);
        let grown = Usd::from_nanos(paid.nanos() / i64::from(few) * i64::from(many));
        let first = [Cell::Count(outcome.calls), Cell::Share(outcome.hits, outcome.calls), Cell::Count(outcome.sent)];
        report.row(name, first.into_iter().chain([Cell::Money(paid), Cell::Money(grown)]).chain(service(&outcome)));
    }
    report.note(format!("seed {seed}; requests by {}", model.source));
    report.note(format!(
        "assumed: {} requests of an organisation a month, chosen so that nothing costs about $500 for 20 organisations; \
         {MODEL} at list price, {} to {} tokens a response, 0.5 s and 8 ms a token; a time to live of 7 days; {LIMIT} requests \
         a minute of each organisation, which wait at most 15 minutes; {PACK} prompts a packed request, which counts as one; {KEY_LIMIT} a minute of each key, {KEYS} keys",
        size.calls_a_month,
        RESPONSE_TOKENS.start(),
        RESPONSE_TOKENS.end(),
    ));
    report.note(format!(
        "simulated by the crates' own layers in virtual time, after {} days that fill the cache; p50 to p99: time to the whole \
         response; refused: requests without a response; \"if 500\" is computed, money of {many} organisations with the same \
         mean: entries are not shared between organisations, so their hit rate does not depend on their number",
        size.warm_up
    ));
    Ok(report)
}

fn service(outcome: &Outcome) -> [Cell; 5] {
    let [p50, p95, p99] = [50, 95, 99].map(|percent| Cell::Time(outcome.percentile(percent)));
    [p50, p95, p99, Cell::Count(outcome.refused), Cell::Count(outcome.limited)]
}

/// Looks the requests up in caches of different times to live, for two kinds of work.
fn lifetimes(model: &Model, size: &Size, seed: u64, each: Usd) -> Result<Report, BoxError> {
    let load = Load { days: 30 + size.days, ..size.load(size.organisations[0], seed) };
    let title = "Does $500 become $100, and at which time to live?";
    let mut report = Report::new(title, ["work, time to live", "calls", "hit rate", "paid a month"]);
    let works = [("what changed", changes(model, &load)), ("whole suites", suites(model, &load, NEW))];
    let mut answers = Vec::new();
    for (work, arrivals) in works {
        let mut best = None;
        for (name, ttl) in
            [("1 h", HOUR), ("24 h", DAY), ("7 days", WEEK), ("14 days", WEEK * 2), ("30 days", DAY * 30)]
        {
            let (calls, hits) = look_up(&arrivals, ttl, 1, DAY * 30)?;
            let misses = i64::try_from(calls - hits)?;
            let paid = Usd::from_nanos(each.nanos() * misses / i64::from(size.days) * 30);
            report.row(format!("{work}, {name}"), [Cell::Count(calls), Cell::Share(hits, calls), Cell::Money(paid)]);
            if best.is_none() && hits * 5 >= calls * 4 {
                best = Some(name);
            }
        }
        answers.push(match best {
            Some(ttl) => format!("{work}: a fifth of the money or less from a time to live of {ttl} on"),
            None => format!("{work}: no, not at any of these times to live"),
        });
    }
    report.note(format!("answer: {}", answers.join("; ")));
    report.note(format!(
        "simulated: 30 days after 30 that fill the cache, by the cache itself without a vendor; money: misses at the mean price \
         of the table above. Assumed of whole suites: requested on each working day, {} % of their texts new each day",
        NEW / 10
    ));
    Ok(report)
}

/// Looks up the requests in the caches of several instances. Returns the numbers of counted calls and hits.
fn look_up(
    arrivals: &[Arrival],
    ttl: Duration,
    instances: u64,
    counted_from: Duration,
) -> Result<(u64, u64), BoxError> {
    let clock = ManualClock::default();
    let cache = |_| Cache::builder("lookup").ttl(ttl).max_bytes(4 << 30).clock(clock.clone()).build();
    let caches = (0..instances).map(cache).collect::<Result<Vec<Cache>, _>>()?;
    let mut random = crate::random::Random::new(1);
    virtual_time::run(async {
        let (mut calls, mut hits) = (0, 0);
        for arrival in arrivals {
            clock.set_unix(arrival.at);
            let instance = usize::try_from(random.below(instances))?;
            let mut is_miss = false;
            let call = || {
                is_miss = true;
                async { Ok::<u64, llm_core::Error>(1) }
            };
            let cache = &caches[instance];
            let key = cache.key(&arrival.organisation.to_string(), "test-cases", &arrival.text)?;
            cache.get_or_call(&key, call).await?;
            if arrival.at >= counted_from {
                calls += 1;
                hits += u64::from(!is_miss);
            }
        }
        Ok((calls, hits))
    })?
}

/// Compares instances that share a store with instances that each have their own.
fn instances(model: &Model, size: &Size, seed: u64) -> Result<Report, BoxError> {
    let arrivals = changes(model, &size.load(size.organisations[0], seed));
    let mut report = Report::new("Instances with a cache each", ["instances", "calls", "hit rate"]);
    for instances in [1, 2, 4, 16] {
        let (calls, hits) = look_up(&arrivals, WEEK, instances, DAY * size.warm_up)?;
        report.row(instances.to_string(), [Cell::Count(calls), Cell::Share(hits, calls)]);
    }
    report.note(
        "answer: instances that share a store in Redis have the hit rate of one; those with limits of their own let \
                 their number of times the limit pass",
    );
    report.note("simulated: requests go to a random instance, 7 days to live, by the cache itself without a vendor");
    Ok(report)
}

/// Finds the number of organisations that the plan's keys can serve, without limits for organisations.
fn keys(model: &Model, size: &Size, seed: u64) -> Result<Report, BoxError> {
    let title = format!("How many organisations fit {KEYS} keys? The busiest ten minutes, an empty cache");
    let mut report = Report::new(title, ["organisations", "calls", "p50", "p95", "p99", "refused", "429s"]);
    let settings = Settings { cache: Some(WEEK), keys: Some(KEYS), ..Settings::default() };
    let mut fitting = None;
    for organisations in &size.tried {
        let outcome = run(&settings, &size.peak(model, *organisations, 1, seed), Duration::ZERO)?;
        let fits = outcome.refused == 0 && outcome.percentile(95) < Duration::from_secs(15);
        if fits {
            fitting = Some(organisations);
        }
        report.row(organisations.to_string(), [Cell::Count(outcome.calls)].into_iter().chain(service(&outcome)));
    }
    let most = KEY_LIMIT * u64::from(KEYS);
    report.note(format!(
        "answer: {} of those tried, at p95 below 15 s (a response itself takes 6 to 9 s) and nothing refused; if each \
         organisation uses its whole {LIMIT} a minute at once, {} ({most} a minute)",
        fitting.map_or("none".to_owned(), ToString::to_string),
        most / u64::from(LIMIT)
    ));
    report.note("assumed: the vendor limits requests alone; where it limits tokens, those bind first");
    Ok(report)
}

/// Sends ten times the requests of the busiest ten minutes through each step.
fn spike(model: &Model, size: &Size, seed: u64) -> Result<Report, BoxError> {
    let organisations = size.organisations[1];
    let title = format!("A spike: ten times the busiest ten minutes of {organisations} organisations, an empty cache");
    let columns = ["step", "calls", "hit rate", "sent", "p50", "p95", "p99", "refused", "429s"];
    let mut report = Report::new(title, columns);
    let usual = [("usual, nothing", Settings::default(), 1)];
    let spike = stacks().map(|(name, settings)| (name, settings, 10));
    for (name, settings, times) in usual.into_iter().chain(spike) {
        let outcome = run(&settings, &size.peak(model, organisations, times, seed), Duration::ZERO)?;
        let first = [Cell::Count(outcome.calls), Cell::Share(outcome.hits, outcome.calls), Cell::Count(outcome.sent)];
        report.row(name, first.into_iter().chain(service(&outcome)));
    }
    report.note("assumed: each organisation requests ten times as often, with the same skew; no client retries");
    Ok(report)
}
