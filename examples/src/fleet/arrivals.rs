//! Requests of organisations, which are drawn from a model.

use std::time::Duration;

use super::model::{Client, Model, WINDOW, WINDOWS};
use crate::random::Random;

const DAY: Duration = Duration::from_secs(86_400);

/// One request of one organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// Time since the start.
    pub at: Duration,
    /// Number of the organisation.
    pub organisation: u32,
    /// Number of the text among those of the organisation.
    pub text: u64,
}

/// Load: the number of organisations, and of their requests.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Number of organisations.
    pub organisations: u32,
    /// Mean number of requests that an organisation sends in 30 days.
    pub calls_a_month: u64,
    /// Length of the simulated time in days. It begins at midnight before a Monday.
    pub days: u32,
    /// Seed of all random draws.
    pub seed: u64,
}

/// Returns the requests for changed scenarios, in the order of time. Each change requests several scenarios at once.
#[must_use]
pub fn changes(model: &Model, load: &Load) -> Vec<Arrival> {
    let mut arrivals = Vec::new();
    let clients = chosen(model, load);
    let total: f64 = clients.iter().map(|client| client.total()).sum();
    let calls = load.calls_a_month as f64 * f64::from(load.organisations) * 14.0 / 30.0;
    for (organisation, client) in (0..).zip(clients) {
        let mut random = Random::of(load.seed, 1_000 + u64::from(organisation));
        let changes = calls * client.total() / total / model.mean_change();
        let mut requests = Requests { model, organisation, sent: Vec::new(), texts: 0 };
        for at in times(client, changes, load, &mut random) {
            requests.add(at, &mut random, &mut arrivals);
        }
    }
    arrivals.sort_unstable();
    arrivals
}

/// Returns the requests for whole suites, in the order of time. Each organisation requests its suite on each working
/// day at about 22 o'clock, one request a second. The share `new_per_mille` of its texts is new since the day before.
#[must_use]
pub fn suites(model: &Model, load: &Load, new_per_mille: u64) -> Vec<Arrival> {
    let mut arrivals = Vec::new();
    let clients = chosen(model, load);
    let total: f64 = clients.iter().map(|client| client.total()).sum();
    // A month of 30 days has 21.4 working days.
    let calls = load.calls_a_month as f64 * f64::from(load.organisations) * 7.0 / 150.0;
    for (organisation, client) in (0..).zip(clients) {
        let mut random = Random::of(load.seed, 1_000 + u64::from(organisation));
        let size = (calls * client.total() / total).round() as u64;
        let (mut suite, mut texts): (Vec<u64>, u64) = ((0..size).collect(), size);
        let start = Duration::from_secs(22 * 3_600 + random.below(3_600));
        for day in (0..load.days).filter(|day| day % 7 < 5) {
            for (second, text) in (0..).zip(&mut suite) {
                if random.below(1_000) < new_per_mille {
                    (*text, texts) = (texts, texts + 1);
                }
                arrivals.push(Arrival {
                    at: DAY * day + start + Duration::from_secs(second),
                    organisation,
                    text: *text,
                });
            }
        }
    }
    arrivals.sort_unstable();
    arrivals
}

/// Returns the requests in the busiest period of this length, with times from the start of that period.
#[must_use]
pub fn busiest(arrivals: &[Arrival], length: Duration) -> Vec<Arrival> {
    let (mut best, mut start) = (0..0, 0);
    for end in 0..arrivals.len() {
        while arrivals[end].at - arrivals[start].at >= length {
            start += 1;
        }
        if end + 1 - start > best.len() {
            best = start..end + 1;
        }
    }
    let first = arrivals.get(best.start).map_or(Duration::ZERO, |arrival| arrival.at);
    arrivals[best].iter().map(|arrival| Arrival { at: arrival.at - first, ..*arrival }).collect()
}

/// Returns the pattern of each organisation, taken from the model at even distances of rank.
fn chosen<'a>(model: &'a Model, load: &Load) -> Vec<&'a Client> {
    let (patterns, organisations) = (model.clients.len() as u64, u64::from(load.organisations));
    let rank = |organisation: u64| (2 * organisation + 1) * patterns / (2 * organisations);
    (0..organisations).filter_map(|organisation| model.clients.get(usize::try_from(rank(organisation)).ok()?)).collect()
}

/// Draws the times of `changes` changes in two weeks, and repeats these two weeks until the end of the load.
fn times(client: &Client, changes: f64, load: &Load, random: &mut Random) -> Vec<Duration> {
    let (total, period) = (client.total(), WINDOW * WINDOWS as u32);
    let sums: Vec<f64> = client
        .rates
        .iter()
        .scan(0.0, |sum, rate| {
            *sum += rate / total;
            Some(*sum)
        })
        .collect();
    let end = DAY * load.days;
    let (mut times, mut passed) = (Vec::new(), random.unit() * random.gap(client.cv) / changes);
    loop {
        let share = passed.fract();
        let window = sums.partition_point(|sum| *sum <= share).min(WINDOWS - 1);
        let before = window.checked_sub(1).map_or(0.0, |before| sums[before]);
        let inside = ((share - before) / (sums[window] - before)).clamp(0.0, 0.999_999);
        let at = period * passed as u32 + WINDOW * window as u32 + WINDOW.mul_f64(inside);
        if at >= end {
            return times;
        }
        times.push(at);
        passed += random.gap(client.cv) / changes;
    }
}

/// Requests that an organisation has sent so far.
struct Requests<'a> {
    model: &'a Model,
    organisation: u32,
    sent: Vec<(Duration, u64)>,
    texts: u64,
}

impl Requests<'_> {
    /// Adds the requests of a change. Each request either repeats the text that was sent last at or before the drawn
    /// age, or is new.
    fn add(&mut self, at: Duration, random: &mut Random, arrivals: &mut Vec<Arrival>) {
        let scenarios = drawn(&self.model.changes, random).copied().unwrap_or(1);
        for _ in 0..scenarios {
            let age = drawn(&self.model.ages, random).copied().flatten();
            let latest = age.and_then(|age| at.checked_sub(age)).and_then(|then| {
                let before = self.sent.partition_point(|(sent, _)| *sent <= then).checked_sub(1)?;
                Some(self.sent[before].1)
            });
            let text = latest.unwrap_or_else(|| {
                self.texts += 1;
                self.texts - 1
            });
            self.sent.push((at, text));
            arrivals.push(Arrival { at, organisation: self.organisation, text });
        }
    }
}

fn drawn<'a, T>(of: &'a [T], random: &mut Random) -> Option<&'a T> {
    of.get(usize::try_from(random.below(of.len() as u64)).ok()?)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const LOAD: Load = Load { organisations: 20, calls_a_month: 1_000, days: 30, seed: 1 };

    #[test]
    fn changes_have_stated_number_and_repeat() {
        let arrivals = changes(&Model::stated(1), &LOAD);
        assert!((14_000..26_000).contains(&arrivals.len()), "{}", arrivals.len());
        assert!(arrivals.is_sorted() && arrivals.last().unwrap().at < DAY * 30);
        let texts: HashSet<_> = arrivals.iter().map(|arrival| (arrival.organisation, arrival.text)).collect();
        let repeated = 100 - texts.len() * 100 / arrivals.len();
        assert!((20..45).contains(&repeated), "{repeated} %");
        assert_eq!(arrivals, changes(&Model::stated(1), &LOAD), "the seed decides");
    }

    #[test]
    fn suites_repeat_but_what_is_new() {
        let arrivals = suites(&Model::stated(1), &LOAD, 30);
        let texts: HashSet<_> = arrivals.iter().map(|arrival| (arrival.organisation, arrival.text)).collect();
        let (calls, days) = (arrivals.len(), 22);
        assert!((19_000..22_000).contains(&calls), "{calls}");
        assert!(texts.len() > calls / days && texts.len() < calls / days * 2, "{}", texts.len());
    }

    #[test]
    fn busiest_window_has_most_arrivals() {
        let at = |second| Arrival { at: Duration::from_secs(second), organisation: 0, text: second };
        let arrivals: Vec<Arrival> = [0, 100, 101, 102, 159, 160, 400].map(at).into();
        let found: Vec<u64> = busiest(&arrivals, Duration::from_secs(60)).iter().map(|a| a.at.as_secs()).collect();
        assert_eq!(found, [0, 1, 2, 59]);
        assert!(busiest(&[], DAY).is_empty());
    }
}
